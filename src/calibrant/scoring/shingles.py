"""Shingles: the runs of n words, tokens or characters that a text consists of, as 64-bit hashes."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from calibrant.calibration.documents import Documents
from calibrant.calibration.tokens import encode
from calibrant.errors import InputError

UNITS = ("word", "token", "char")
AUTO = "auto"
NAMES = {"word": "words", "token": "tokens", "char": "characters"}
UNSPACED_SHARE = 0.25  # of the letters: one of these holds as much as two or three of another alphabet
Hashes = npt.NDArray[np.uint64]
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SPACE = re.compile(r"\s+")
_LETTERS = re.compile(r"[^\W\d_]+")
# Scripts that put no spaces between words.
_UNSPACED = re.compile(
    "["
    "\u0e01-\u0edf"  # Thai, Lao
    "\u0f40-\u0fbc\u1000-\u109f\uaa60-\uaa7f"  # Tibetan, Myanmar
    "\u1780-\u17d3\u1950-\u19df\u1a20-\u1aad\uaa80-\uaadf"  # Khmer, Tai
    "\u3005-\u3007\u3041-\u312f\u31a0-\u31bf\u31f0-\u31ff\uff66-\uff9f"  # kana, bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "]+"
)


@dataclass(frozen=True)
class Corpus:
    """The units of every document of a source, in the documents' order."""

    source: str
    doc_ids: list[str]
    units: list[list[bytes]]
    sha256: str
    characters: int = 0  # of its longest document

    @property
    def amount(self) -> int:
        """Number of units."""
        return sum(map(len, self.units))


def fitting_unit(texts: Iterable[str]) -> str:
    """`char` where a quarter of the letters is of scripts that put no spaces between words, else `word`."""
    unspaced = others = 0
    for text in texts:
        if text.isascii():
            others += sum(map(len, _LETTERS.findall(text)))
            continue
        unspaced += sum(map(len, _UNSPACED.findall(text)))
        others += sum(map(len, _LETTERS.findall(_UNSPACED.sub("", text))))
    return "char" if unspaced and unspaced >= UNSPACED_SHARE * (unspaced + others) else "word"


def common_unit(asked: str, texts: Sequence[Sequence[str]]) -> str:
    """The unit by which corpora are compared: the one asked for, or with `auto` one that fits each of them."""
    if asked != AUTO:
        return asked
    return "char" if any(fitting_unit(each) == "char" for each in texts) else "word"


def folded(text: str) -> str:
    """The text without case, the same however its accents are written (NFC, which most text is already)."""
    return unicodedata.normalize("NFC", text).casefold()


def splitter(unit: str, tokenizer: Any | None = None) -> Callable[[Sequence[str]], list[list[bytes]]]:
    """The function that cuts texts into units.

    `word`: runs of letters and digits, `folded`, without punctuation. `char`: characters, `folded`, white space as
    one blank. `token`: the tokenizer's ids of the text in NFC, without special tokens.

    Raises:
        InputError: an unknown unit, or `token` without a tokenizer.
    """
    if unit == "word":
        return lambda texts: [[w.encode() for w in _WORD.findall(folded(text))] for text in texts]
    if unit == "char":
        return lambda texts: [[c.encode() for c in _SPACE.sub(" ", folded(text)).strip()] for text in texts]
    if unit != "token":
        raise InputError(f"--shingle {unit}: unknown; use {', '.join(UNITS)}")
    if tokenizer is None:
        raise InputError("--shingle token: needs a tokenizer; give --model MODEL")
    return lambda texts: [
        [b"%d" % i for i in ids] for ids in encode(tokenizer, [unicodedata.normalize("NFC", text) for text in texts])
    ]


def read_corpus(documents: Documents, split: Callable[[Sequence[str]], list[list[bytes]]]) -> Corpus:
    """Cut every document into units."""
    longest = max((len(" ".join(folded(text).split())) for text in documents.texts), default=0)
    return Corpus(documents.source, documents.ids, split(documents.texts), documents.sha256, longest)


def check_shingles(corpus: Corpus, unit: str, n: int) -> None:
    """Refuse a corpus that has no shingle, of which nothing can be said.

    Raises:
        InputError: every document has fewer than `n` units; the message names what would work.
    """
    longest = max(map(len, corpus.units), default=0)
    if longest >= n:
        return
    works = [f"--n {longest}"] if longest else []
    if unit != "char" and corpus.characters:
        works.append("--shingle char" if corpus.characters >= n else f"--shingle char --n {corpus.characters}")
    raise InputError(
        f"--shingle {unit} --n {n}: no document of {corpus.source} has {n} {NAMES[unit]} in a row, so there is nothing "
        f"to compare (the longest has {longest}); use {' or '.join(works) or 'longer documents'}"
    )


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
