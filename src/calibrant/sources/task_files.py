"""Task rows below `tasks/`: built from held-out documents, copied from local files, or left to lm-eval's own."""

import io
import json
from pathlib import Path

from calibrant.artefacts.atomic import atomic_path, write_text
from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.file_kinds import plain_file
from calibrant.artefacts.parquet import read_table
from calibrant.artefacts.provenance import write_provenance
from calibrant.errors import InputError
from calibrant.sources.asset_specs import Task
from calibrant.sources.hub import hub_error
from calibrant.sources.next_sentence import Item, build_items
from calibrant.sources.table_rows import read_rows


def build_task(spec: Task, root: Path) -> str:
    """Write `tasks/NAME_SPLIT.jsonl[.gz]` and `tasks/NAME.provenance.json` below `root`; returns one line for people.

    Raises:
        InputError: a source without held-out documents, too few items, rows that are not JSONL, or an unreachable hub.
    """
    folder = root / "tasks"
    if spec.kind == "next_sentence":
        return _next_sentence(spec, root, folder)
    if spec.files:
        return _copy_files(spec, folder)
    if spec.hub:
        _prefetch(spec.name)
        origin = "the hub, rows fetched into its cache"
    else:
        origin = "the hub, when it is evaluated"
    write_provenance(folder / spec.name, {"name": spec.name, "origin": origin})
    return f"rows from {origin}"


def row_files(spec: Task) -> list[str]:
    """Names below `tasks/` of the rows that `build_task` writes, and of those that it removes.

    A file of rows in the other form, plain or gzip, would be taken by readers.
    """
    if spec.kind == "next_sentence":
        return [f"{spec.name}_test.jsonl"]
    return [f"{spec.name}_{split}.jsonl{zipped}" for split in spec.files for zipped in ("", ".gz")]


def _next_sentence(spec: Task, root: Path, folder: Path) -> str:
    source = root / "sources" / str(spec.source) / "heldout.parquet"
    if not source.exists():
        raise InputError(f"tasks.{spec.name}: {source} is not there; download source {spec.source} first")
    table, _ = read_table(source, ["doc_id", "text"])
    documents = list(zip(table.column("doc_id").to_pylist(), table.column("text").to_pylist(), strict=True))
    try:
        items, relaxed = build_items(documents, spec.items, spec.seed)
    except InputError as error:
        raise InputError(f"tasks.{spec.name}: source {spec.source}: {error}") from None
    settings = {"kind": spec.kind, "source": spec.source, "items": spec.items, "seed": spec.seed}
    record = {
        "name": spec.name,
        "settings": settings,
        "relaxed_items": relaxed,
        "inputs": {"heldout.parquet": sha256_file(source)},
    }
    write_provenance(folder / spec.name, record)  # first: by it the rows are known to be ours
    write_text(folder / f"{spec.name}_test.jsonl", "".join(_line(item) for item in items))
    return f"{len(items)} items ({relaxed} relaxed) from {len(documents)} held-out documents of {spec.source}"


def _line(item: Item) -> str:
    return json.dumps(item, ensure_ascii=False) + "\n"


def _copy_files(spec: Task, folder: Path) -> str:
    files, counts, rows_of = {}, [], {}
    for split, name in spec.files.items():
        path = Path(name)
        data, rows = _checked_rows(path, f"tasks.{spec.name}.files.{split}")
        zipped = path.suffix == ".gz"
        rows_of[split] = (data, zipped)
        files[split] = {"name": path.name, "sha256": sha256_file(path), "rows": rows}
        counts.append(f"{rows} rows of {split}")
    write_provenance(folder / spec.name, {"name": spec.name, "files": files})
    for split, (data, zipped) in rows_of.items():
        with atomic_path(folder / f"{spec.name}_{split}.jsonl{'.gz' if zipped else ''}") as temporary:
            temporary.write_bytes(data)
        # a former run's, which a reader could take instead
        (folder / f"{spec.name}_{split}.jsonl{'' if zipped else '.gz'}").unlink(missing_ok=True)
    return ", ".join(counts)


def _checked_rows(path: Path, where: str) -> tuple[bytes, int]:
    """The bytes of a JSONL file, plain or gzip, and its number of rows."""
    plain_file(path, f"{where}:")
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise InputError(f"{where}: {path.name}: task rows must be JSONL (.jsonl or .jsonl.gz)")
    data = path.read_bytes()
    try:
        rows = sum(1 for _ in read_rows(io.BytesIO(data), str(path)))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if rows == 0:
        raise InputError(f"{where}: {path}: has no rows")
    return data, rows


def _prefetch(name: str) -> None:
    """Let lm-eval load its task once, so that the rows lie in the hub's cache for machines without a network."""
    from lm_eval.tasks import TaskManager, get_task_dict

    manager = TaskManager()
    if name not in manager.all_tasks:
        raise InputError(f"tasks.{name}: lm-eval has no task of that name; see `lm-eval ls tasks`")
    try:
        get_task_dict([name], manager)
    except Exception as error:
        raise hub_error(f"task {name}", "datasets", error) from error
