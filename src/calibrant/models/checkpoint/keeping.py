"""Open a model for all children of this process: read, hash, check and load it once (`kept` is how they take it)."""

import logging
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.checkpoint_files import Identities, file_identities
from calibrant.models.checkpoint.kept import KeptModel, keep
from calibrant.models.checkpoint.loading import load_tokenizer, load_weights
from calibrant.models.checkpoint.resolution import read_resolved
from calibrant.models.checkpoint.streaming import build_empty
from calibrant.models.compute.devices import choose_device
from calibrant.models.compute.number_formats import choose_number_format
from calibrant.models.compute.shelf import Shelf
from calibrant.models.decoders.decoder_choice import fast_decoder, unsupported
from calibrant.system import all_memory

SHARE = 8  # of the machine's memory that a kept model takes at most, its weights' layout included; its shelf: half that
QUIET = {"HF_DEACTIVATE_ASYNC_LOAD": "1", "TOKENIZERS_PARALLELISM": "false"}  # libraries start no threads


def open_and_keep(model: str, files: Identities, dtype: str, device: str, resolved: str | None, *, whole: bool) -> bool:
    """Open a model and keep it in this process; whether that was done.

    It is not done for a model that is too large or goes to a GPU, that a job would say something about, or that cannot
    be used (a job says why), or when its files change meanwhile. PyTorch has one thread from then on.

    Args:
        model: its folder, as the jobs have it.
        files: what its files were when this was asked for.
        dtype, device, resolved: what the jobs say of them.
        whole: whether jobs have the whole model, or read it layer by layer.
    """
    os.environ.update(QUIET)
    torch.set_num_threads(1)
    try:
        with _said() as said:
            kept = _opened(model, files, dtype if resolved is None else read_resolved(resolved)["dtype"], device, whole)
    except InputError:
        return False
    if kept is None or any(said) or file_identities(Path(model)) != files:
        return False
    keep(kept)
    return True


def _opened(model: str, files: Identities, dtype: str, device: str, whole: bool) -> KeptModel | None:
    checkpoint, place, most = open_checkpoint(model), choose_device(device), all_memory()
    chosen = choose_number_format(dtype, checkpoint.dtype, place).dtype
    size = sum(math.prod(tensor.shape) for tensor in checkpoint.tensors.values()) * chosen.itemsize
    if place.type != "cpu" or most is None or 2 * size > most // SHARE:
        return None
    checkpoint.check_numbers(chosen)
    kept = KeptModel(model, Path.cwd(), files, checkpoint)
    if whole:
        kept.tokenizer = load_tokenizer(checkpoint)
        kept.networks[chosen] = load_weights(checkpoint, chosen)
        kept.shelf = Shelf(most // (2 * SHARE), chosen)
        if unsupported(kept.networks[chosen]) is None:  # else each job says that transformers runs it
            fast_decoder(kept.networks[chosen])
    else:
        kept.empty[chosen] = build_empty(checkpoint, chosen)
    return kept


class _Listener(logging.Handler):
    def __init__(self, heard: list[bytes | logging.LogRecord]) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(record)


@contextmanager
def _said() -> Iterator[list[bytes | logging.LogRecord]]:
    """What is logged or written to standard error inside the context, in place of being written; known after it."""
    said: list[bytes | logging.LogRecord] = []
    listener = _Listener(said)
    logging.getLogger().addHandler(listener)
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        own = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)
            os.close(own)
            logging.getLogger().removeHandler(listener)
            file.seek(0)
            said.append(file.read())
