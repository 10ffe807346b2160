"""Stage filter: samples and their scores in, calibration set and dropped rows out."""

import sys
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.text_settings import FilterSettings
from calibrant.stages.stage import Input, Output, Stage, admit

FILES = (
    Input("samples", "generated samples or a calibration set (Parquet)", kind="samples"),
    Input("scores", "scores of these samples (Parquet); not needed with --drop 0", required=False, kind="scores"),
    Output(
        "output",
        "calibration set (Parquet); dropped rows: *.dropped.parquet",
        command="filter",
        beside=(".dropped.parquet",),
        suffix=".parquet",
        rule="a calibration set is a .parquet file",
    ),
)


def filter(
    samples: str | Path,
    output: str | Path,
    settings: FilterSettings = FilterSettings(),  # noqa: B008 - frozen
    *,
    scores: str | Path | None = None,
) -> dict[str, Any]:
    """Drop the samples of highest perplexity, and draw some of the rest; returns what the file records about itself.

    The dropped rows lie beside the output, with the reason. Of a set that is a block its own rows alone are filtered.

    Raises:
        InputError: a file that cannot be used, scores of other samples or none, or too few samples to draw from.
    """
    admit(FILES, settings, FilterSettings, samples=samples, scores=scores, output=output)
    from calibrant.artefacts.digest import sha256_file
    from calibrant.artefacts.parquet import write_table
    from calibrant.calibration.perplexity_filter import check_takable, complete, filter_samples, take_samples
    from calibrant.calibration.sample_set import bos_recorded, generation_format, read_samples, write_samples
    from calibrant.calibration.set_blocks import overlap_note, row_block
    from calibrant.scoring.score_table import read_scores
    from calibrant.study.row_counts import block_rows, kept
    from calibrant.version import __version__

    read = read_samples(samples)
    samples_hash = sha256_file(samples)
    perplexities = None
    inputs = {"samples": samples_hash}
    scoring = None
    if scores is not None:
        table, recorded = read_scores(scores)
        expected = recorded.get("inputs", {}).get("samples")
        if expected != samples_hash:
            raise InputError(
                f"{scores}: made from samples with sha256 {str(expected)[:12]}..., but {samples} has "
                f"{samples_hash[:12]}...; score these samples again"
            )
        perplexities = dict(zip(table["sample_id"].to_pylist(), table["perplexity"].to_pylist(), strict=True))
        inputs["scores"] = sha256_file(scores)
        scoring = {"model_sha256": recorded.get("model_sha256"), **recorded.get("settings", {})}
    rows, block = complete(read.table), None
    if settings.take is not None and settings.sets == "blocks":
        check_takable(rows, settings.take, kept(len(read), settings.drop))
        rows, block = row_block(rows, settings.seed, min(block_rows(settings.take, settings.drop), len(read)))
        if note := overlap_note(block, "samples", "generate more"):
            print(note, file=sys.stderr)
    filtered = filter_samples(rows, perplexities, settings.drop)
    left = filtered.kept
    if settings.take is not None and not block:
        left = take_samples(left, settings.take, settings.seed)
    earlier = {key: read.metadata.get(key) for key in ("model", "model_sha256", "tokenizer_sha256", "source", "origin")}
    metadata = {
        **{key: value for key, value in earlier.items() if value is not None},
        **generation_format(read.metadata),
        **bos_recorded(read.metadata),
        "stage": "filter",
        "seed": settings.seed if settings.take is not None else None,
        "settings": {"drop": settings.drop, "take": settings.take, **({"sets": "blocks"} if block else {})},
        **({"block": block.record} if block else {}),
        "scoring": scoring,
        "samples": {key: read.metadata.get(key) for key in ("stage", "seed", "settings", "inputs")},
        "dropped": filtered.dropped.num_rows,
        "inputs": inputs,
    }
    dropped = Path(output).with_suffix(".dropped.parquet")
    write_table(dropped, filtered.dropped, {**metadata, "library_version": __version__})
    write_samples(output, left, metadata)
    return {**metadata, "rows": len(read), "written": left.num_rows}


def _said(found: dict[str, Any]) -> str:
    rows = f"{found['block']['rows']} of {found['rows']}" if "block" in found else found["rows"]
    return f"filter: {rows} rows, {found['dropped']} dropped, {found['written']} written"


STAGE = Stage(filter, FILES, FilterSettings, said=_said, aside=True)
