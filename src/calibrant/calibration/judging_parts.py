"""Divide a text that judges, document by document: a half that chooses, a half that values, and one to calibrate on.

A text that judges is what the model is for. Its *selection* half chooses among calibration texts; its *test* half
values the answer and is looked at once. Where the text is large enough, a third of it is the *own* part: one more
candidate to calibrate on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from calibrant.artefacts.digest import sha256_bytes
from calibrant.calibration.documents import Documents
from calibrant.calibration.draws import generator
from calibrant.calibration.windows import documents_shown
from calibrant.errors import InputError, shown

LEAST_DOCUMENTS = 20  # of a half: with fewer, the spread between documents is hardly known
PARTS = int.from_bytes(b"part")  # first word of the seeds of the draw: which part comes first where several are as full


@dataclass(frozen=True)
class HalfNeeds:
    """What a half must hold to judge by.

    Attributes:
        tokens: of all its documents, as far as they count.
        documents: those that are nearly the same count once.
        document_tokens: the tokens of a document that count at most; None counts all.
    """

    tokens: int
    documents: int = LEAST_DOCUMENTS
    document_tokens: int | None = None


@dataclass(frozen=True)
class JudgingParts:
    """The parts of a text that judges: they share no document, and hold all of them.

    Attributes:
        selection: chooses among calibration texts.
        test: values the answer.
        own: to calibrate on; None where the text is too small for that.
        why_no_own: in words; "" where there is one.
    """

    selection: Documents
    test: Documents
    own: Documents | None
    why_no_own: str = ""


@dataclass(frozen=True)
class _Unit:
    """Documents that stay together, by their rows: their tokens as far as they count, and all of them."""

    rows: list[int]
    counted: int
    tokens: int


def judging_parts(
    documents: Documents, sizes: Sequence[int], groups: Sequence[int], half: HalfNeeds, own_tokens: int | None
) -> JudgingParts:
    """Thirds of a text if each has enough for its purpose, else halves, as even in tokens as whole documents allow.

    The same documents in another order give the same parts, each in the same order, which is that of hashes of texts.
    The order of the documents' sizes decides where they go: the largest first, each to the part that has least so far.
    A half that lacks documents gets the last ones.

    Args:
        documents: the text.
        sizes: tokens of each document.
        groups: a label for each document; those with the same label are nearly the same and stay together
            (`scoring.kept_out.near_duplicate_groups`).
        half: what the selection half and the test half must hold, each.
        own_tokens: what calibration sets need of the own part; None where there is to be none.

    Raises:
        InputError: one document or group holds more than half of the text, or halves have not enough.
        ValueError: sizes or groups are not one for each document.
    """
    if not len(documents) == len(sizes) == len(groups):
        raise ValueError(f"{len(documents)} documents, {len(sizes)} sizes, {len(groups)} groups: one for each document")
    keys = [(sha256_bytes(text.encode()), name) for text, name in zip(documents.texts, documents.ids, strict=True)]
    order = sorted(range(len(documents)), key=keys.__getitem__)
    units = _units(order, sizes, groups, half.document_tokens)
    _check_largest(documents, units)
    seed = int(sha256_bytes("".join(keys[row][0] for row in order).encode()), 16)
    no_third = ["no own part was asked for"]
    if own_tokens is not None:
        parts = _divided(units, [half.documents, half.documents, 1], seed)
        no_third = _lacks(parts[:2], half)
        own = sum(unit.tokens for unit in parts[2])
        if own < own_tokens:
            no_third.append(f"the own part has {own:,} tokens of {own_tokens:,}")
    if no_third:
        parts = _divided(units, [half.documents, half.documents], seed)
        if no_half := _lacks(parts, half):
            raise InputError(
                f"{documents_shown(documents)}: too little text to judge by: it has {_amount(units, half)}, and two "
                f"halves need {2 * half.documents:,} and {2 * half.tokens:,}; divided, {'; '.join(no_half)}; give more "
                "text"
            )
    rows = [sorted((row for unit in part for row in unit.rows), key=keys.__getitem__) for part in parts]
    return JudgingParts(
        chosen(documents, rows[0]),
        chosen(documents, rows[1]),
        None if no_third else chosen(documents, rows[2]),
        _why(no_third) if own_tokens is not None else no_third[0],
    )


def _why(lacking: Sequence[str]) -> str:
    return f"the text is too small to be divided in three: {'; '.join(lacking)}" if lacking else ""


def chosen(documents: Documents, rows: Sequence[int]) -> Documents:
    """Some of the documents, by their rows and in that order; all else is as in the file, `sha256` too."""
    return replace(
        documents,
        ids=[documents.ids[row] for row in rows],
        texts=[documents.texts[row] for row in rows],
        token_ids=None if documents.token_ids is None else [documents.token_ids[row] for row in rows],
    )


def _units(order: Sequence[int], sizes: Sequence[int], groups: Sequence[int], most: int | None) -> list[_Unit]:
    """The groups of documents, the largest first, those of one size by the first of their rows in `order`."""
    rows_of: dict[int, list[int]] = {}
    for row in order:
        rows_of.setdefault(groups[row], []).append(row)
    units = [
        _Unit(rows, sum(sizes[r] if most is None else min(sizes[r], most) for r in rows), sum(sizes[r] for r in rows))
        for rows in rows_of.values()
    ]
    return sorted(units, key=lambda unit: -unit.counted)


def _check_largest(documents: Documents, units: Sequence[_Unit]) -> None:
    total = sum(unit.counted for unit in units)
    if not units or 2 * units[0].counted <= total:
        return
    largest = units[0]
    name, more = shown(documents.ids[largest.rows[0]]), len(largest.rows) - 1
    if more:
        what = f"document {name} and {more:,} that {'are' if more > 1 else 'is'} nearly the same hold"
        remedy = "leave out what is repeated, such as a head that all documents have"
    else:
        what, remedy = f"document {name} holds", "divide it into documents, such as its paragraphs"
    raise InputError(
        f"{documents_shown(documents)}: {what} {largest.counted:,} of the {total:,} tokens to judge by, more than "
        f"half, so no other half is as large; {remedy}, or give more text"
    )


def _divided(units: Sequence[_Unit], least: Sequence[int], seed: int) -> list[list[_Unit]]:
    """Each unit in turn to the part with the fewest counted tokens, the last ones to parts with fewer than `least`."""
    first = generator(PARTS, seed).permutation(len(least)).tolist()
    parts: list[list[_Unit]] = [[] for _ in least]
    filled = [0] * len(least)
    for given, unit in enumerate(units):
        lacking = [max(0, need - len(part)) for need, part in zip(least, parts, strict=True)]
        needy = [part for part, lack in enumerate(lacking) if lack] if sum(lacking) >= len(units) - given else []
        emptiest = min(needy or range(len(least)), key=lambda part: (filled[part], first[part]))
        parts[emptiest].append(unit)
        filled[emptiest] += unit.counted
    return parts


def _lacks(halves: Sequence[Sequence[_Unit]], half: HalfNeeds) -> list[str]:
    """A few words on each half that has not enough."""
    lacks = []
    for name, part in zip(("selection", "test"), halves, strict=True):
        tokens = sum(unit.counted for unit in part)
        if len(part) < half.documents or tokens < half.tokens:
            lacks.append(
                f"the {name} part has {len(part):,} documents and {tokens:,} tokens of {half.documents:,} and "
                f"{half.tokens:,}"
            )
    return lacks


def _amount(units: Sequence[_Unit], half: HalfNeeds) -> str:
    documents, tokens = sum(len(unit.rows) for unit in units), sum(unit.counted for unit in units)
    alike = f" ({documents:,}, those that are nearly the same counted once)" if documents > len(units) else ""
    most = "" if half.document_tokens is None else f" (at most {half.document_tokens:,} of a document)"
    return f"{len(units):,} document{'s' * (len(units) != 1)}{alike} and {tokens:,} tokens{most}"
