"""Put the parts of a report into a folder that may hold more: written apart, then moved, each listed in the sidecar."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from calibrant.artefacts.atomic import FILES, SIDECAR, list_files, prepare_parent, read_json, room, write_json
from calibrant.artefacts.temporary_names import held, remove_dead, temporary_beside
from calibrant.errors import InputError


@contextlib.contextmanager
def report_folder(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield a temporary folder; then move its `parts`, files or folders, into `folder`, the last of them last.

    What is written must include a provenance sidecar. It lists every file afterwards, and those of an earlier report
    that are none of these parts, which stay. While parts are moved it lists all of the earlier report, so that after a
    kill at any moment the next one replaces both.

    Raises:
        MachineError: the disk is full or read-only.
        ValueError: no sidecar was written, or something that is none of the parts.
    """
    made = not folder.exists()
    prepare_parent(folder / SIDECAR)
    target = folder / "report"
    remove_dead(target)
    temporary = temporary_beside(target)
    try:
        with room(folder):
            temporary.mkdir()
            with held(temporary):
                yield temporary
                list_files(temporary)
                if other := sorted({path.name for path in temporary.iterdir()} - {*parts, SIDECAR}):
                    raise ValueError(f"{folder}: {other[0]} is none of the parts of a report")
                _move(temporary, folder, parts)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):  # it holds the report
                folder.rmdir()


def _move(new: Path, folder: Path, parts: Sequence[str]) -> None:
    record = read_json(new / SIDECAR)
    others = [name for name in _listed(folder) if name.split("/")[0] not in parts]  # of an earlier report, which stay
    record |= {FILES: sorted({*record.get(FILES, ()), *others})}
    write_json(folder / SIDECAR, {**record, FILES: sorted({*record.get(FILES, ()), *_listed(folder)})})
    for part in parts:
        if part == SIDECAR:
            continue
        place = folder / part
        if place.is_dir() and not place.is_symlink():
            place.rename(temporary_beside(new / part))
        if (new / part).exists():
            (new / part).replace(place)
        else:
            place.unlink(missing_ok=True)
    write_json(folder / SIDECAR, record)


def _listed(folder: Path) -> list[str]:
    try:
        return list(read_json(folder / SIDECAR).get(FILES, ()))
    except (InputError, AttributeError):
        return []
