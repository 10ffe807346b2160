"""Stage export: a calibration set as JSONL and as a Hugging Face dataset."""

from pathlib import Path

from calibrant.errors import InputError
from calibrant.stages.stage import Input, Output, Stage, admit

FILES = (
    Input("calibration", "calibration set or generated samples (Parquet)", kind="calibration set"),
    Output("jsonl", "write this JSONL file", required=False, command="export", beside=(".provenance.json",)),
    Output(
        "dataset",
        "write this folder, readable by datasets.load_from_disk",
        required=False,
        command="export",
        form="folder",
    ),
    Output("output", "write both: OUTPUT.jsonl and the folder OUTPUT", required=False, form="tree"),
)


def export(
    calibration: str | Path,
    output: str | Path | None = None,
    *,
    jsonl: str | Path | None = None,
    dataset: str | Path | None = None,
) -> None:
    """Write a calibration set for other programs.

    Raises:
        InputError: nothing to write, or a set that cannot be read.
    """
    if output is not None:
        base = str(output).removesuffix(".jsonl")
        jsonl, dataset = jsonl or f"{base}.jsonl", dataset or base
    if jsonl is None and dataset is None:
        raise InputError("export: nothing to write; give --output, --jsonl or --dataset")
    admit(FILES, calibration=calibration, jsonl=jsonl, dataset=dataset, output=output)
    from calibrant.artefacts.digest import sha256_file
    from calibrant.artefacts.provenance import described
    from calibrant.calibration.sample_set import read_samples
    from calibrant.calibration.set_export import write_dataset, write_jsonl
    from calibrant.version import __version__

    samples = read_samples(calibration)
    record = {"stage": "export", "calibration": samples.metadata, "sha256": sha256_file(calibration)}
    if jsonl is not None:
        try:
            with described(jsonl, {**record, "library_version": __version__}):
                write_jsonl(jsonl, samples.table)
        except InputError as error:
            raise InputError(f"{calibration}: {error}") from None
    if dataset is not None:
        write_dataset(dataset, samples.table, record)


STAGE = Stage(export, FILES)
