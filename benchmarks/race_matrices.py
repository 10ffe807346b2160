"""Measure sets of calibration text against documents: the matrices that the race's defaults are argued from.

    .venv/bin/python benchmarks/race_matrices.py --target 0.6 --sets 8 --text fiction=FILE --text alpaca=FILE \\
        --document-tokens 152 --work FOLDER --output reports/kept/race/measured.parquet

For every source of the default study: so many sets (8 x 512 tokens, blocks of one order), one set of the blocks of
every two of them where `--joined` asks for it, masks by Wanda, and the measures by document of each. Finished files
are kept in the folder, so it goes on where it stopped; two processes with `--part 0/2` and `--part 1/2` share the work.
`--statistics` takes inputs from the dense model (`sequential=dense`): masks of several targets in one pass.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from common import MODEL, ROOT

import calibrant as cal
from calibrant.artefacts.parquet import write_table
from calibrant.evaluation.measure_table import read_measures

SOURCES = ("web", "wikipedia", "news", "speech")
SAMPLES, LENGTH, JOINED = 8, 512, 2
KEPT = ("target", "text", "set", "evaluation", "number", "measure", "sum", "count")


def jobs(options: argparse.Namespace) -> Iterator[tuple[str, str, int, int, str]]:
    """Text, name, samples and number of each set, and the target."""
    for target in options.target:
        for number in range(options.sets):
            yield from ((text, f"s{number}", SAMPLES, number, target) for text in SOURCES)
        for number in range(options.joined):
            yield from ((text, f"m{number}", JOINED * SAMPLES, number, target) for text in SOURCES)


def masks(work: Path, text: str, name: str, samples: int, number: int, target: str, *, shared: bool) -> Path:
    """The masks of a set, made if they are not there."""
    chosen, made = (
        work / f"sets/{text}-{name}.parquet",
        work / f"masks/{text}-{name}-{target.replace(':', 'of')}.safetensors",
    )
    if made.exists():
        return made
    if not chosen.exists():
        documents = ROOT / f"data/smollm2-135m/sources/{text}/documents.parquet"
        cal.sample(documents, MODEL, chosen, cal.SampleSettings(samples=samples, length=LENGTH, seed=number))
    usual: dict[str, Any] = {"threads": 1, "dtype": "float32"}
    statistics = None
    if shared:
        statistics = work / f"statistics/{text}-{name}.safetensors"
        if not statistics.exists():
            kinds = cal.StatisticsSettings(kinds=("norm",), **usual)
            cal.statistics(MODEL, chosen, statistics, kinds, progress=False)
        usual["option"] = {"sequential": "dense"}
    settings = cal.PruneSettings(method="wanda", sparsity=target, **usual)
    cal.prune(MODEL, chosen, made, settings, statistics=statistics, progress=False)
    return made


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", required=True)
    parser.add_argument("--text", action="append", required=True, metavar="NAME=FILE")
    parser.add_argument("--document-tokens", type=int, default=152)
    parser.add_argument("--text-tokens", type=int, default=8192)
    parser.add_argument("--sets", type=int, default=8)
    parser.add_argument("--joined", type=int, default=0)
    parser.add_argument("--statistics", action="store_true")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    torch.set_num_threads(1)
    settings = cal.EvaluateSettings(
        text_average="apart",
        text_tokens=options.text_tokens,
        document_tokens=options.document_tokens,
        length=LENGTH,
        dtype="float32",
        threads=1,
    )
    dense = options.work / f"dense-{part}.safetensors"
    if not dense.exists():
        cal.evaluate(MODEL, options.work / f"dense-{part}.json", settings, texts=options.text, outputs=dense)
    found = list(jobs(options))
    for text, name, samples, number, target in found[part::parts]:
        made = masks(options.work, text, name, samples, number, target, shared=options.statistics)
        results = options.work / f"results/{made.stem}.json"
        if not results.exists():
            cal.evaluate(MODEL, results, settings, masks=made, texts=options.text, dense=dense)
    results = {
        job: options.work / f"results/{job[0]}-{job[1]}-{job[4].replace(':', 'of')}.measures.parquet" for job in found
    }
    if all(path.exists() for path in results.values()):
        tables = [_labelled(read_measures(path)[0], *job) for job, path in results.items()]
        before = [pq.read_table(options.output)] if options.output.exists() else []
        write_table(options.output, pa.concat_tables([*before, *tables]).select(KEPT), {"stage": "evaluate"})


def _labelled(table: pa.Table, text: str, name: str, samples: int, number: int, target: str) -> pa.Table:
    for column, value in (("target", target), ("text", text), ("set", name)):
        table = table.append_column(column, pa.array([value] * table.num_rows))
    return table.select(KEPT)


if __name__ == "__main__":
    main()
