"""Stage contamination: evaluation items that occur in calibration text."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.text_settings import ContaminationSettings
from calibrant.stages.stage import Input, Output, Stage, admit

FILES = (
    Input("sources", "calibration documents, one file a source", "", many=True, kind="documents", metavar="DOCS"),
    Input("data", "folder of task rows, as for evaluate; else from the hub", required=False),
    Input(
        "texts",
        "FILE[,FILE...] whose perplexity is taken",
        "text",
        required=False,
        many=True,
        commas=True,
        kind="--text",
    ),
    Output(
        "output",
        "table (Parquet), a row for each source and item",
        command="contamination",
        suffix=".parquet",
        rule="the table is a .parquet file",
    ),
)


def contamination(
    sources: Sequence[str | Path],
    output: str | Path,
    settings: ContaminationSettings = ContaminationSettings(),  # noqa: B008 - frozen
    *,
    texts: Sequence[str | Path] = (),
    data: str | Path | None = None,
) -> list[dict[str, Any]]:
    """Look for the items that a model is evaluated on in calibration text; returns the rows of the table.

    Raises:
        InputError: nothing to compare with, or a file that cannot be read.
    """
    admit(FILES, settings, ContaminationSettings, sources=sources, data=data, texts=texts, output=output)
    if not texts and not settings.tasks:
        raise InputError("nothing to compare with; give --tasks or --text")
    if data is not None:  # local rows mean no network
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    import pyarrow as pa

    from calibrant.artefacts.digest import sha256_file
    from calibrant.artefacts.parquet import write_table
    from calibrant.calibration.documents import read_documents
    from calibrant.evaluation.evaluated_items import task_items, text_items
    from calibrant.evaluation.tasks.lm_eval_tasks import load_tasks
    from calibrant.evaluation.tasks.row_folder import RowFolder
    from calibrant.scoring import item_contamination
    from calibrant.scoring.shingles import NAMES
    from calibrant.version import __version__

    names = list(settings.tasks)
    folder = RowFolder(Path(data)) if data is not None else None
    # Items are the same whatever examples go before them, whose rows need not be there.
    items = task_items(load_tasks(names, folder, dict.fromkeys(names, 0)), settings.limit) if names else []
    named = text_items([(None, Path(path)) for path in texts], **settings.reading)
    items += named
    rows, hashes = [], []
    for path in sources:  # one at a time, since a source may be large
        source = read_documents(path, **settings.reading)
        hashes.append(source.sha256)
        rows += item_contamination.compare_items(source, items, settings.shingle, settings.n, settings.threshold)
    if not any(row["shingles"] for row in rows):
        units = sorted({f"{row['n']} {NAMES[row['unit']]}" for row in rows})
        raise InputError(
            f"--n {settings.n}: none of {len(rows) // len(sources):,} items has {' or '.join(units)} in a row, so "
            "there is nothing to compare; use a smaller --n or --shingle char"
        )
    metadata = {
        "stage": "contamination",
        "library_version": __version__,
        "settings": {"tasks": names, "limit": settings.limit, "n": settings.n, "threshold": settings.threshold},
        "inputs": {
            "sources": hashes,
            **{f"data/{name}": digest for name, digest in sorted((folder.used if folder else {}).items())},
            **{f"texts/{each.evaluation}": sha256_file(path) for each, path in zip(named, texts, strict=True)},
        },
    }
    write_table(output, pa.Table.from_pylist(rows, item_contamination.SCHEMA), metadata)
    return rows


def _said(rows: list[dict[str, Any]]) -> str:
    found = [row for row in rows if row["share"] is not None and row["share"] >= row["threshold"]]
    lines = _not_compared(rows)
    lines += [
        f"{row['evaluation']}: {row['item']} shares {row['share']:.2f} with {row['doc_id']} of {row['source']}"
        for row in found
    ]
    share = f" share {rows[0]['threshold']:g} or more" if rows else ""
    return "\n".join([*lines, f"{len(found)} of {len(rows)} pairs of a source and an item{share}"])


def _not_compared(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each task or text with items that are too short to be compared."""
    lines = []
    for evaluation in dict.fromkeys(row["evaluation"] for row in rows):
        items = {row["item"]: row["shingles"] for row in rows if row["evaluation"] == evaluation}
        if short := sum(not count for count in items.values()):
            lines.append(f"{evaluation}: {short} of {len(items)} items are too short to be compared")
    return lines


STAGE = Stage(contamination, FILES, ContaminationSettings, said=_said)
