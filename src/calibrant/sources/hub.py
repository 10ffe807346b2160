"""Data sets and models from the Hugging Face hub, pinned to the commit that was found; errors worth reading."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from calibrant.errors import InputError, first_line
from calibrant.models.checkpoint.checkpoint_files import resolve
from calibrant.sources.asset_specs import Hub


def resolve_dataset(spec: Hub) -> str | None:
    """The commit that a hub data set's revision stands for now; None for local files behind `datasets`' builders.

    Raises:
        InputError: the hub cannot be reached, or has no such data set or revision.
    """
    if "/" not in spec.dataset or Path(spec.dataset).is_dir():
        return None
    from huggingface_hub import HfApi

    try:
        sha = HfApi().dataset_info(spec.dataset, revision=spec.revision).sha
    except Exception as error:
        raise hub_error(f"data set {spec.dataset}", f"datasets/{spec.dataset}", error) from error
    return str(sha)


def dataset_rows(spec: Hub, revision: str | None) -> Iterator[dict[str, Any]]:
    """Rows of a hub data set through the `datasets` library, read as they come when `streaming`.

    Raises:
        InputError: the data set, its configuration or its split cannot be loaded.
    """
    import datasets

    files = list(spec.data_files) if isinstance(spec.data_files, tuple) else spec.data_files
    try:
        rows = datasets.load_dataset(
            spec.dataset,
            spec.config,
            split=spec.split,
            data_files=files,
            revision=revision,
            streaming=spec.streaming,
        )
        yield from rows
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except Exception as error:
        raise hub_error(f"data set {spec.dataset}", f"datasets/{spec.dataset}", error) from error


def snapshot(model: str, revision: str | None) -> tuple[Path, str]:
    """The local folder of a hub model (configuration, safetensors, tokenizer only) and its commit.

    Raises:
        InputError: the model cannot be fetched; for a gated one the message says how to get access.
    """
    if Path(model).is_dir():
        raise InputError(f"model.hub is {model}, but a folder of that name is here; for a local model use model.path")
    try:
        folder = resolve(model, revision)
    except InputError as error:
        if error.__cause__ is not None and is_gated(error.__cause__):
            raise hub_error(f"model {model}", model, error.__cause__) from error
        raise
    return folder, folder.name  # the hub's cache names snapshots by their commit


def is_gated(error: BaseException) -> bool:
    """Whether access was refused because a licence has to be accepted first."""
    from huggingface_hub.errors import GatedRepoError

    return isinstance(error, GatedRepoError) or "gated" in str(error).lower()


def hub_error(what: str, page: str, error: BaseException) -> InputError:
    """One line for whatever the hub's libraries raised; for gated repositories, what to do."""
    if is_gated(error):
        return InputError(
            f"{what}: access is gated; accept its licence at https://huggingface.co/{page} and set HF_TOKEN "
            "to a token of that account"
        )
    reason = first_line(error)
    return InputError(f"{what}: cannot be loaded from the hub ({reason})")
