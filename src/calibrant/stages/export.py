"""Stage export: a calibration set as JSONL, as plain text, and as a Hugging Face dataset."""

from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.text_settings import ExportSettings
from calibrant.stages.stage import Input, Output, Stage, admit

SET = Input("calibration", "calibration set or generated samples (Parquet)", kind="calibration set")
BESIDE = (".provenance.json",)
FILES = (
    SET,
    Output("jsonl", "write this JSONL file", required=False, command="export", beside=BESIDE),
    Output(
        "dataset",
        "write this folder, readable by datasets.load_from_disk",
        required=False,
        command="export",
        form="folder",
    ),
    Output(
        "output",
        "write both, OUTPUT.jsonl and the folder OUTPUT; with --format, what it says",
        required=False,
        form="tree",
    ),
)
OF_FORMAT = {
    "jsonl": Output("output", "", command="export", beside=BESIDE),
    "text": Output("output", "", command="export", beside=BESIDE),
    "dataset": Output("output", "", command="export", form="folder"),
}


def export(
    calibration: str | Path,
    output: str | Path | None = None,
    settings: ExportSettings = ExportSettings(),  # noqa: B008 - frozen
    *,
    jsonl: str | Path | None = None,
    dataset: str | Path | None = None,
) -> None:
    """Write a calibration set for other programs.

    With a format, `output` alone is written, in that format; a dataset then has a card, README.md.

    Raises:
        InputError: nothing to write, a set that cannot be read, or a format with other outputs than `output`.
    """
    if settings.format is not None:
        _export_as(settings, calibration, output, {"jsonl": jsonl, "dataset": dataset})
        return
    if output is not None:
        base = str(output).removesuffix(".jsonl")
        jsonl, dataset = jsonl or f"{base}.jsonl", dataset or base
    if jsonl is None and dataset is None:
        raise InputError("export: nothing to write; give --output, --jsonl or --dataset")
    admit(FILES, settings, ExportSettings, calibration=calibration, jsonl=jsonl, dataset=dataset, output=output)
    _write(calibration, {"jsonl": jsonl, "dataset": dataset}, carded=False)


def _export_as(
    settings: ExportSettings, calibration: str | Path, output: str | Path | None, others: dict[str, Any]
) -> None:
    kind = str(settings.format)
    if output is None:
        raise InputError(f"--format {kind}: says what --output is; give --output")
    if given := [name for name, value in others.items() if value is not None]:
        raise InputError(f"--format {kind}: goes with --output alone; leave out --{given[0]}, or call twice")
    admit((SET, OF_FORMAT[kind]), settings, ExportSettings, calibration=calibration, output=output)
    _write(calibration, {kind: output}, carded=True)


def _write(calibration: str | Path, paths: dict[str, str | Path | None], *, carded: bool) -> None:
    from calibrant.artefacts.digest import sha256_file
    from calibrant.artefacts.provenance import described
    from calibrant.calibration.dataset_card import dataset_card
    from calibrant.calibration.sample_set import read_samples
    from calibrant.calibration.set_export import write_dataset, write_jsonl, write_plain_text
    from calibrant.calibration.set_facts import set_facts
    from calibrant.version import __version__

    samples = read_samples(calibration)
    sha256 = sha256_file(calibration)
    record = {"stage": "export", "calibration": samples.metadata, "sha256": sha256}
    for kind, path in paths.items():
        if path is None:
            continue
        if kind == "dataset":
            card = dataset_card(set_facts(samples, Path(calibration).stem, sha256=sha256)) if carded else None
            write_dataset(path, samples.table, record, card)
            continue
        try:
            with described(path, {**record, "library_version": __version__}):
                (write_jsonl if kind == "jsonl" else write_plain_text)(path, samples.table)
        except InputError as error:
            raise InputError(f"{calibration}: {error}") from None


STAGE = Stage(export, FILES, ExportSettings)
