"""Stage export: a calibration set as JSONL, plain Parquet or text, Hugging Face dataset, or importance matrix."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibrant.artefacts.output_place import Place
from calibrant.errors import InputError
from calibrant.settings.text_settings import ExportSettings
from calibrant.stages.importance_export import export_importance, said_of_importance
from calibrant.stages.stage import Input, Output, Stage, admit

if TYPE_CHECKING:
    from calibrant.calibration.round_trip import RoundTrip

SET = Input("calibration", "calibration set or generated samples (Parquet)", kind="calibration set")
MODEL = Input(
    "model",
    "folder, hub id or .gguf file of the model whose tokens the set holds, to count the rows whose text does not give "
    "them again; for imatrix the model that is run",
    required=False,
)
BESIDE = (".provenance.json",)
OF_PARQUET = ".parquet.provenance.json"  # since other Parquet beside the sidecar of a JSONL file may be the user's


class _Plain(Output):
    """A Parquet file without metadata of its own, which is known by what lies beside it."""

    def places(self, path: str | Path) -> list[Place]:
        first, *others = super().places(path)
        return [replace(first, sidecar=Path(path).with_suffix(OF_PARQUET)) if Path(path).name else first, *others]


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
    "parquet": _Plain("output", "", command="export", beside=(OF_PARQUET,)),
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
    model: str | Path | None = None,
    progress: bool = True,
) -> "RoundTrip | dict[str, Any] | None":
    """Write a calibration set for other programs.

    With a format, `output` alone is written, in that format; a dataset then has a card, README.md. The format imatrix
    takes a pass of the model over the set, of which `progress` shows a bar on stderr.

    Returns:
        In how many rows the text gives other ids than the row's, by the model's tokenizer; None without a model. Of
        imatrix, what is recorded of it.

    Raises:
        InputError: nothing to write, a set or a tokenizer that cannot be read, or a format with other outputs than
            `output`.
    """
    if settings.format is not None:
        return _export_as(settings, calibration, output, {"jsonl": jsonl, "dataset": dataset}, model, progress)
    if output is not None:
        base = str(output).removesuffix(".jsonl")
        jsonl, dataset = jsonl or f"{base}.jsonl", dataset or base
    if jsonl is None and dataset is None:
        raise InputError("export: nothing to write; give --output, --jsonl or --dataset")
    given = {"calibration": calibration, "jsonl": jsonl, "dataset": dataset, "output": output, "model": model}
    admit(FILES, settings, ExportSettings, **given)
    return _write(calibration, {"jsonl": jsonl, "dataset": dataset}, model, carded=False)


def _export_as(
    settings: ExportSettings,
    calibration: str | Path,
    output: str | Path | None,
    others: dict[str, Any],
    model: str | Path | None,
    progress: bool,
) -> "RoundTrip | dict[str, Any] | None":
    kind = str(settings.format)
    if output is None:
        raise InputError(f"--format {kind}: says what --output is; give --output")
    if given := [name for name, value in others.items() if value is not None]:
        raise InputError(f"--format {kind}: goes with --output alone; leave out --{given[0]}, or call twice")
    if kind == "imatrix":
        return export_importance(settings, calibration, model, output, (SET, MODEL), progress)
    files = (SET, MODEL, OF_FORMAT[kind])
    admit(files, settings, ExportSettings, calibration=calibration, output=output, model=model)
    return _write(calibration, {kind: output}, model, carded=True)


def _write(
    calibration: str | Path, paths: dict[str, str | Path | None], model: str | Path | None, *, carded: bool
) -> "RoundTrip | None":
    from calibrant.artefacts.atomic import write_json
    from calibrant.artefacts.digest import sha256_file
    from calibrant.artefacts.provenance import described
    from calibrant.calibration.dataset_card import dataset_card
    from calibrant.calibration.sample_set import read_samples
    from calibrant.calibration.set_export import write_dataset, write_jsonl, write_parquet, write_plain_text
    from calibrant.calibration.set_facts import set_facts
    from calibrant.version import __version__

    samples = read_samples(calibration)
    sha256 = sha256_file(calibration)
    facts = set_facts(samples, Path(calibration).stem, sha256=sha256, tokenizer=_tokenizer(model, calibration, samples))
    record = {"stage": "export", "calibration": samples.metadata, "sha256": sha256}
    about = {**record, "library_version": __version__}
    for kind, path in paths.items():
        if path is None:
            continue
        if kind == "dataset":
            write_dataset(path, samples.table, record, dataset_card(facts) if carded else None)
            continue
        if kind == "parquet":
            write_json(Path(path).with_suffix(OF_PARQUET), about)  # first, as `described` does
            write_parquet(path, samples.table)
            continue
        try:
            with described(path, about):
                (write_jsonl if kind == "jsonl" else write_plain_text)(path, samples.table)
        except InputError as error:
            raise InputError(f"{calibration}: {error}") from None
    return facts.again


def _tokenizer(model: str | Path | None, calibration: str | Path, samples: Any) -> Any:
    if model is None:
        return None
    from calibrant.calibration.sample_set import say_other_tokenizer
    from calibrant.models.checkpoint.checkpoint import open_checkpoint
    from calibrant.models.checkpoint.loading import load_tokenizer

    checkpoint = open_checkpoint(model)
    say_other_tokenizer(calibration, samples, checkpoint.tokenizer_sha256)
    return load_tokenizer(checkpoint)


def _said(found: "RoundTrip | dict[str, Any] | None") -> list[str]:
    if found is None:
        return []
    if isinstance(found, dict):
        return [said_of_importance(found)]
    return [f"export: {found.sentence}" + ("; take input_ids for this model" if found.differing else "")]


STAGE = Stage(export, FILES, ExportSettings, said=_said, aside=True)
