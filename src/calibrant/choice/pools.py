"""A pool: the documents of a source that may be calibrated on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import write_json
from calibrant.artefacts.parquet import read_metadata
from calibrant.calibration.documents import Documents, read_documents
from calibrant.calibration.tokens import encode
from calibrant.choice.judging_files import STAGE, write_documents
from calibrant.choice.pool_record import RECORD, Pool
from calibrant.errors import InputError
from calibrant.evaluation.evaluated_items import task_items
from calibrant.evaluation.tasks.lm_eval_tasks import load_tasks
from calibrant.evaluation.tasks.row_folder import RowFolder
from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.loading import load_tokenizer
from calibrant.scoring.kept_out import kept_out
from calibrant.study.choose_section import judging_tasks
from calibrant.version import __version__


def write_pool(
    documents: Path,
    source: str,
    model: Path,
    judging: Sequence[Path],
    output: Path,
    config: Mapping[str, Any],
    *,
    data: Path | None = None,
) -> Pool:
    """Take out of a source what shares text with what judges; write what is left, and its record.

    A source of which nothing is left, or nothing can be read, gets a file without rows and the reason.

    Args:
        documents: of the source, or of the own part of a judging text.
        source: its name.
        model: whose tokenizer counts.
        judging: files of the parts that judge.
        output: the pool (Parquet).
        config: of the study.
        data: folder of the rows of tasks, where any judges.
    """
    own = read_metadata(documents) if documents.suffix == ".parquet" else {}
    reason = str(own.get("why_no_own") or own.get("refused") or "")
    pool = Documents([], [], source, "")
    removed: list[dict[str, Any]] = []
    of = 0
    sizes: list[int] = []
    if not reason:
        try:
            found = read_documents(documents, source)
            pool, of = found, len(found)
            left = kept_out(found, [*(read_documents(each) for each in judging), *_items(config, data)])
            pool, removed = left.kept, left.removed
        except InputError as error:
            reason, pool = str(error), Documents([], [], source, pool.sha256)
    if pool.texts:
        sizes = [len(ids) for ids in encode(load_tokenizer(open_checkpoint(model)), pool.texts)]
    prefix = int(config["generation"]["prefix_length"])
    record = Pool(pool.sha256, len(pool), sum(sizes), sum(size > prefix for size in sizes), of, removed, reason)
    metadata = {"stage": STAGE, "source": source, "inputs": {"documents": pool.sha256}, "library_version": __version__}
    write_documents(output, pool, metadata)
    write_json(output.with_suffix(RECORD), {"stage": STAGE, **asdict(record)})
    return record


def _items(config: Mapping[str, Any], data: Path | None) -> list[Documents]:
    """The items of tasks that judge, as documents."""
    names = judging_tasks(config)
    if not names:
        return []
    folder = RowFolder(data) if data is not None else None
    tasks = load_tasks(names, folder, dict.fromkeys(names, 0))
    items = task_items(tasks, int(config["evaluation"]["limit"]) or None)
    return [
        Documents(list(each.names), ["\n".join(texts) for texts in each.texts], each.evaluation, "") for each in items
    ]
