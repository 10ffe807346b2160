"""`calibrant contamination`: evaluation items that occur in calibration text."""

import argparse
import os
from pathlib import Path

from calibrant.cli.common import existing_file
from calibrant.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the stage."""
    parser.add_argument("sources", nargs="+", metavar="DOCS", help="calibration documents, one file a source")
    parser.add_argument("--tasks", default="", help="names of lm-eval tasks or of your own, separated by commas")
    parser.add_argument("--data", help="folder of task rows, as for evaluate; else from the hub")
    parser.add_argument("--limit", type=int, help="at most so many documents of each task, as for evaluate")
    parser.add_argument("--text", action="append", default=[], help="FILE[,FILE...] whose perplexity is taken")
    parser.add_argument("--n", type=int, default=8, help="words in a shingle (default 8)")
    parser.add_argument("--threshold", type=float, default=0.2, help="share of an item that counts as found (0.2)")
    parser.add_argument("--output", required=True, help="table (Parquet), a row for each source and item")


def run(options: argparse.Namespace) -> None:
    """Run the stage."""
    if not options.output.endswith(".parquet"):
        raise InputError(f"--output {options.output}: the table is a .parquet file")
    texts = [existing_file(path, "--text") for given in options.text for path in given.split(",") if path]
    names = [name for name in options.tasks.split(",") if name]
    if not texts and not names:
        raise InputError("nothing to compare with; give --tasks or --text")
    if options.data is not None:  # local rows mean no network
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    import pyarrow as pa

    from calibrant.artefacts.digest import sha256_file
    from calibrant.artefacts.parquet import write_table
    from calibrant.calibration.documents import read_documents
    from calibrant.evaluation.tasks.evaluated_items import task_items, text_items
    from calibrant.evaluation.tasks.lm_eval_tasks import load_tasks
    from calibrant.evaluation.tasks.row_folder import RowFolder
    from calibrant.scoring.item_contamination import SCHEMA, contamination
    from calibrant.scoring.shingles import read_corpus, splitter
    from calibrant.version import __version__

    data = RowFolder(Path(options.data)) if options.data is not None else None
    # Items are the same whatever examples go before them, whose rows need not be there.
    items = task_items(load_tasks(names, data, dict.fromkeys(names, 0)), options.limit) if names else []
    named = text_items([(None, path) for path in texts])
    items += named
    rows, hashes = [], []
    for path in options.sources:  # one at a time, since a source may be large
        source = read_corpus(read_documents(path), splitter("word"))
        hashes.append(source.sha256)
        rows += contamination(source, items, options.n, options.threshold)
    metadata = {
        "stage": "contamination",
        "library_version": __version__,
        "settings": {"tasks": names, "limit": options.limit, "n": options.n, "threshold": options.threshold},
        "inputs": {
            "sources": hashes,
            **{f"data/{name}": digest for name, digest in sorted((data.used if data else {}).items())},
            **{f"texts/{each.evaluation}": sha256_file(path) for each, path in zip(named, texts, strict=True)},
        },
    }
    write_table(options.output, pa.Table.from_pylist(rows, SCHEMA), metadata)
    found = [row for row in rows if row["share"] is not None and row["share"] >= options.threshold]
    for row in found:
        print(f"{row['evaluation']}: {row['item']} shares {row['share']:.2f} with {row['doc_id']} of {row['source']}")
    print(f"{len(found)} of {len(rows)} pairs of a source and an item share {options.threshold:g} or more")
