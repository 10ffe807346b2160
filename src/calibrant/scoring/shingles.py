"""Shingles: the runs of n words, tokens or characters that a text consists of, as 64-bit hashes."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from calibrant.calibration.documents import Documents
from calibrant.calibration.tokens import encode
from calibrant.errors import InputError

UNITS = ("word", "token", "char")
Hashes = npt.NDArray[np.uint64]
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Corpus:
    """The units of every document of a source, in the documents' order."""

    source: str
    doc_ids: list[str]
    units: list[list[bytes]]
    sha256: str

    @property
    def amount(self) -> int:
        """Number of units."""
        return sum(map(len, self.units))


def splitter(unit: str, tokenizer: Any | None = None) -> Callable[[Sequence[str]], list[list[bytes]]]:
    """The function that cuts texts into units.

    `word`: runs of letters and digits, case folded, without punctuation. `char`: characters, case folded,
    white space as one blank. `token`: the tokenizer's ids, without special tokens.

    Raises:
        InputError: an unknown unit, or `token` without a tokenizer.
    """
    if unit == "word":
        return lambda texts: [[w.encode() for w in _WORD.findall(text.casefold())] for text in texts]
    if unit == "char":
        return lambda texts: [[c.encode() for c in _SPACE.sub(" ", text.casefold()).strip()] for text in texts]
    if unit != "token":
        raise InputError(f"--shingle {unit}: unknown; use {', '.join(UNITS)}")
    if tokenizer is None:
        raise InputError("--shingle token: needs a tokenizer; give --model MODEL")
    return lambda texts: [[b"%d" % i for i in ids] for ids in encode(tokenizer, texts)]


def read_corpus(documents: Documents, split: Callable[[Sequence[str]], list[list[bytes]]]) -> Corpus:
    """Cut every document into units."""
    return Corpus(documents.source, documents.ids, split(documents.texts), documents.sha256)


def shingles(units: Sequence[bytes], n: int) -> Hashes:
    """Hashes of the distinct runs of `n` units, sorted; none when there are fewer units than `n`."""
    runs = {b"\x00".join(units[i : i + n]) for i in range(len(units) - n + 1)}
    hashes = [int.from_bytes(hashlib.blake2b(run, digest_size=8).digest(), "little") for run in runs]
    return np.sort(np.array(hashes, dtype=np.uint64))


def corpus_shingles(corpus: Corpus, n: int, amount: int, seed: int) -> tuple[Hashes, int]:
    """Distinct shingles of `amount` units of a corpus, and of how many documents they are.

    Whole documents in a random order, drawn without replacement; the last one is cut where the amount is
    reached. Shingles never cross from one document into the next.
    """
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed])))
    parts: list[Hashes] = []
    left = amount
    for index in generator.permutation(len(corpus.units)):
        if left <= 0:
            break
        units = corpus.units[index][:left]
        parts.append(shingles(units, n))
        left -= len(units)
    merged = np.unique(np.concatenate(parts)) if parts else np.array([], dtype=np.uint64)
    return merged, len(parts)
