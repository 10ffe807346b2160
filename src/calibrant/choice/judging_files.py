"""The parts of a text that judges, as files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from calibrant.artefacts.parquet import write_table
from calibrant.calibration.documents import Documents, read_documents
from calibrant.calibration.judging_parts import HalfNeeds, judging_parts
from calibrant.calibration.tokens import encode
from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.loading import load_tokenizer
from calibrant.scoring.kept_out import near_duplicate_groups
from calibrant.settings.race_settings import FIRST
from calibrant.study.choose_section import document_tokens
from calibrant.version import __version__

SCHEMA = pa.schema([("doc_id", pa.string()), ("text", pa.string())])
STAGE = "choose"  # what the files say wrote them
LEAST_SHARE = 4  # a half must have this part of the tokens that are read of it


def write_parts(text: Path, model: Path, name: str, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Divide a judging text into `selection.parquet`, `test.parquet` and `own.parquet`; returns what was done.

    The own part is a file without rows where the text is too small for it.

    Raises:
        InputError: too little text for two halves, or a file or tokenizer that cannot be used.
    """
    found = read_documents(text, name)
    sizes = [len(ids) for ids in encode(load_tokenizer(open_checkpoint(model)), found.texts)]
    tokens, most = int(config["choose"]["tokens"]), document_tokens(config)
    half = HalfNeeds(tokens=tokens // LEAST_SHARE, document_tokens=most)
    sets = config["calibration"]
    own = FIRST * int(sets["samples"]) * int(sets["length"]) if config["choose"]["own"] else None
    try:
        parts = judging_parts(found, sizes, near_duplicate_groups(found), half, own)
    except InputError as error:
        raise InputError(f"{name}, which is to judge: {error}") from None
    record = {
        "stage": STAGE,
        "source": name,
        "documents": len(found),
        "why_no_own": parts.why_no_own,
        "inputs": {"documents": found.sha256},
        "library_version": __version__,
    }
    empty = Documents([], [], name, found.sha256)
    for part, documents in (("selection", parts.selection), ("test", parts.test), ("own", parts.own or empty)):
        write_documents(folder / f"{part}.parquet", documents, {**record, "part": part})
    return record


def write_documents(path: Path, documents: Documents, metadata: Mapping[str, Any]) -> None:
    """Write documents as other stages read them."""
    table = pa.table({"doc_id": documents.ids, "text": documents.texts}, schema=SCHEMA)
    write_table(path, table, metadata)
