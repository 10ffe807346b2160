"""The token sequences that masks are looked at on: those they were made on, and others truly held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from calibrant.artefacts.digest import sha256_file
from calibrant.calibration.sample_set import SampleSet, check_vocabulary, read_calibration_set
from calibrant.errors import InputError


@dataclass(frozen=True)
class TextSet:
    """Token ids int64 [sequences, tokens] under the name that figures give them; there may be no sequence left."""

    label: str
    ids: Tensor


def read_text_sets(
    paths: Sequence[str | Path],
    calibration_sha256: str | None,
    vocabulary: int,
    *,
    sequences: int = 0,
    tokens: int = 0,
) -> list[TextSet]:
    """Read sets; the one that masks were calibrated on gets "(calibration)" after its file's name.

    When it is among them, the other sets lose the sequences that they share with it (`shared_with`): those are
    not held out.

    Args:
        paths: calibration sets (Parquet), all for one model.
        calibration_sha256: hash of the file that the masks were made on, None when they were made on no text.
        vocabulary: the model's number of tokens.
        sequences: only the first so many of each set, counted after shared ones are left out; 0 for all.
        tokens: only the first so many of each sequence; 0 for all.

    Raises:
        InputError: a set cannot be read or does not fit the model, two have one file name, a number is negative.
    """
    for name, value in (("sequences", sequences), ("tokens", tokens)):
        if value < 0:
            raise InputError(f"--{name} {value}: must be 0 (all) or more")
    names = [Path(path).name for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"--text-set: two files are called {twice[0]}, and figures go by file name; rename one")
    sets = [read_calibration_set(path) for path in paths]
    for path, read in zip(paths, sets, strict=True):
        check_vocabulary(path, read, vocabulary)
    own = [sha256_file(path) == calibration_sha256 for path in paths]
    calibration = next((read for read, is_own in zip(sets, own, strict=True) if is_own), None)
    found = []
    for name, read, is_own in zip(names, sets, own, strict=True):
        ids = torch.from_numpy(read.input_ids)
        if calibration is not None and not is_own:
            ids = ids[~torch.tensor(shared_with(read, calibration))]
        ids = ids[: sequences or None, : tokens or None]
        found.append(TextSet(f"{name} (calibration)" if is_own else name, ids))
    return found


def shared_with(samples: SampleSet, calibration: SampleSet) -> list[bool]:
    """Whether each sequence is in the calibration set too, or has a document in common with one there.

    Seeds draw from one pool of generated samples, and from one stream of documents, so their sets may meet.
    """
    used_tokens = {tuple(row) for row in calibration.sequences}
    used_documents = set().union(*_documents(calibration))
    return [
        tuple(row) in used_tokens or not used_documents.isdisjoint(documents)
        for row, documents in zip(samples.sequences, _documents(samples), strict=True)
    ]


def _documents(samples: SampleSet) -> list[set[tuple[str, str]]]:
    """The documents of each sequence by source and id; none where another program wrote the file without them."""
    if "doc_ids" not in samples.table.column_names:
        return [set() for _ in range(len(samples))]
    ids = samples.table.column("doc_ids").to_pylist()
    named = "source" in samples.table.column_names
    sources = samples.table.column("source").to_pylist() if named else [""] * len(samples)
    return [{(str(source), str(i)) for i in row or ()} for source, row in zip(sources, ids, strict=True)]
