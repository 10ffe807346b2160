"""A calibration set handed over: in every form that tools read, side by side in a folder that may hold more."""

import shutil
from pathlib import Path

from calibrant.artefacts.atomic import SIDECAR, atomic_path, write_json
from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.output_place import Place, check_places
from calibrant.calibration.sample_set import SAMPLES, read_samples
from calibrant.calibration.set_export import all_text, write_dataset, write_jsonl, write_plain_text
from calibrant.version import __version__

TABLE, ROWS, TEXT, DATASET = "set.parquet", "set.jsonl", "set.txt", "dataset"
RECORD = f"set.{SIDECAR}"  # one for the three files, by which they are known as ours: a table may be another program's


def bundle_places(folder: Path, command: str = "choose") -> list[Place]:
    """Where `write_bundle` writes, for `check_places` before any work begins."""
    record = folder / RECORD
    files = [Place(folder / name, command, sidecar=record) for name in (TABLE, ROWS, TEXT, RECORD)]
    return [*files, Place(folder / DATASET, command, "folder")]


def write_bundle(folder: Path, calibration: Path, card: str, command: str = "choose") -> list[str]:
    """Write `set.parquet` (a copy, byte for byte), `set.jsonl`, `set.txt` and `dataset/` with its card.

    What the same command wrote there before is replaced. The same set and card give the same bytes. A set of another
    program may have no text, and then there is no `set.txt`; nor are its own further columns in the other forms.

    Args:
        folder: where to; it may hold other things.
        calibration: the set.
        card: README.md of the dataset folder (`dataset_card`).
        command: which writes, as the sidecars have it.

    Returns:
        The names of what was written.

    Raises:
        InputError: the set cannot be read, or something that this command did not write lies at one of the places.
    """
    check_places(bundle_places(folder, command), [calibration])
    samples = read_samples(calibration)
    record = {"stage": command, "calibration": samples.metadata, "sha256": sha256_file(calibration)}
    table = samples.table.select([name for name in SAMPLES.names if name in samples.table.column_names])
    write_json(folder / RECORD, {**record, "library_version": __version__})  # first: files are never there without it
    with atomic_path(folder / TABLE) as temporary:
        shutil.copyfile(calibration, temporary)
    write_jsonl(folder / ROWS, table)
    text = all_text(table)
    if text:
        write_plain_text(folder / TEXT, table)
    else:
        (folder / TEXT).unlink(missing_ok=True)
    write_dataset(folder / DATASET, table, record, card)
    return [TABLE, ROWS, *([TEXT] if text else []), DATASET]
