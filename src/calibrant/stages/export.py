"""Stage export: a calibration set as JSONL, as plain text, as a Hugging Face dataset, and as an importance matrix."""

from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.text_settings import ExportSettings
from calibrant.stages.compute import prepared
from calibrant.stages.stage import Input, Output, Stage, admit

SET = Input("calibration", "calibration set or generated samples (Parquet)", kind="calibration set")
BESIDE = (".provenance.json",)
MODEL = Input("model", "model folder, hub id or .gguf file, of --format imatrix", required=False)
FILES = (
    SET,
    MODEL,
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
IMATRIX = Output(
    "output",
    "",
    command="export",
    beside=BESIDE,
    partial=True,
    suffix=".gguf",
    rule="an importance matrix is a GGUF file; the name must end in .gguf",
)


def export(
    calibration: str | Path,
    output: str | Path | None = None,
    settings: ExportSettings = ExportSettings(),  # noqa: B008 - frozen
    *,
    jsonl: str | Path | None = None,
    dataset: str | Path | None = None,
    model: str | Path | None = None,
    progress: bool = True,
) -> dict[str, Any] | None:
    """Write a calibration set for other programs.

    With a format, `output` alone is written, in that format; a dataset then has a card, README.md. The format imatrix
    takes a pass of `model` over the set, of which `progress` shows a bar on stderr; what it records is returned.

    Raises:
        InputError: nothing to write, a set that cannot be read, a format with other outputs than `output`, or a model
            without the format imatrix, or the other way round.
    """
    if settings.format == "imatrix":
        return _export_importance(settings, calibration, output, {"jsonl": jsonl, "dataset": dataset}, model, progress)
    if model is not None:
        raise InputError(f"--model {model}: goes with --format imatrix alone; leave it out")
    if settings.format is not None:
        _export_as(settings, calibration, output, {"jsonl": jsonl, "dataset": dataset})
        return None
    if output is not None:
        base = str(output).removesuffix(".jsonl")
        jsonl, dataset = jsonl or f"{base}.jsonl", dataset or base
    if jsonl is None and dataset is None:
        raise InputError("export: nothing to write; give --output, --jsonl or --dataset")
    files = {"jsonl": jsonl, "dataset": dataset, "output": output}
    admit(FILES, settings, ExportSettings, calibration=calibration, model=None, **files)
    _write(calibration, {"jsonl": jsonl, "dataset": dataset}, carded=False)
    return None


def _export_as(
    settings: ExportSettings, calibration: str | Path, output: str | Path | None, others: dict[str, Any]
) -> None:
    kind = str(settings.format)
    _only_output(kind, output, others)
    assert output is not None
    admit((SET, OF_FORMAT[kind]), settings, ExportSettings, calibration=calibration, output=output)
    _write(calibration, {kind: output}, carded=True)


def _export_importance(
    settings: ExportSettings,
    calibration: str | Path,
    output: str | Path | None,
    others: dict[str, Any],
    model: str | Path | None,
    progress: bool,
) -> dict[str, Any]:
    _only_output("imatrix", output, others)
    if output is None or model is None:
        raise InputError("--format imatrix: is a pass of a model over the set; give --model")
    admit((SET, MODEL, IMATRIX), settings, ExportSettings, calibration=calibration, model=model, output=output)
    settings = prepared(settings)
    from calibrant.pruning.run.importance_matrix import write_importance_matrix

    record = write_importance_matrix(
        model,
        calibration,
        output,
        dtype=settings.dtype,
        device=settings.device,
        attention=settings.attention,
        products=settings.products,
        activations=settings.activations,  # type: ignore[arg-type]
        progress=progress,
    )
    return {**record, "output": str(output)}


def _only_output(kind: str, output: str | Path | None, others: dict[str, Any]) -> None:
    if output is None:
        raise InputError(f"--format {kind}: says what --output is; give --output")
    if given := [name for name, value in others.items() if value is not None]:
        raise InputError(f"--format {kind}: goes with --output alone; leave out --{given[0]}, or call twice")


def _said(found: dict[str, Any] | None) -> str | tuple[()]:
    if found is None:
        return ()
    said = f"{found['output']}: {found['entries']} tensors of llama.cpp's names, {found['tokens']:,} tokens"
    none = f"; no token reached {found['unreached']:,} of {found['experts']:,} experts"
    return said + (none if found["unreached"] else "")


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


STAGE = Stage(export, FILES, ExportSettings, said=_said)
