"""Multiple-choice items from documents: which of four sentences of the same document comes next?

The distractors come later in the same document and are of similar length, so topic, style and length do not
give the answer away: only how the text goes on does. Kin of the cloze tasks, for text nobody has annotated.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from calibrant.errors import InputError
from calibrant.sources.sentences import is_complete, split_sentences

CHOICES = 4
MOST_CONTEXT_WORDS = 80
SENTENCE_WORDS = (5, 40)


@dataclass(frozen=True)
class Shape:
    """What an item must look like."""

    context_words: int  # at least; the context is cut at a sentence's start
    gap: int  # sentences from the true one to the nearest distractor
    length_ratio: float  # a distractor has between 1/ratio and ratio times the words of the true sentence


# Passages of five or six sentences allow no strict item; a relaxed one is taken when strict ones do not suffice.
STRICT = Shape(context_words=40, gap=2, length_ratio=2.0)
RELAXED = Shape(context_words=20, gap=1, length_ratio=2.5)


class Item(TypedDict):
    """A row of task data: `choices[label]` is the sentence that follows `context` in document `doc_id`."""

    context: str
    choices: list[str]
    label: int
    doc_id: str


def build_items(documents: Iterable[tuple[str, str]], count: int, seed: int) -> tuple[list[Item], int]:
    """`count` items from (doc_id, text) pairs, at most one a document, and how many of them are of the relaxed shape.

    The true answer is equally often at each place. Which documents, which place in each and which distractors
    follow from `seed` and the documents alone, not from their order.

    Raises:
        InputError: fewer than `count` items can be built; the message says how many.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, count])))
    waiting = [(doc_id, split_sentences(text)) for doc_id, text in sorted(documents)]
    waiting = [waiting[index] for index in rng.permutation(len(waiting)).tolist()]
    total, strict = len(waiting), 0
    chosen: list[tuple[str, str, str, list[str]]] = []
    for shape in (STRICT, RELAXED):
        left = []
        for doc_id, sentences in waiting:
            parts = _draw(sentences, shape, rng) if len(chosen) < count else None
            if parts is None:
                left.append((doc_id, sentences))
            else:
                chosen.append((doc_id, *parts))
        waiting = left
        strict = len(chosen) if shape is STRICT else strict
    if len(chosen) < count:
        raise InputError(
            f"only {len(chosen)} items can be built from {total} held-out documents (one a document), "
            f"{count} were asked for; ask for fewer, or hold out more (a plain text file is one document)"
        )
    labels = rng.permutation(np.arange(count) % CHOICES)
    items = []
    for (doc_id, context, true, distractors), label in zip(chosen, labels.tolist(), strict=True):
        choices = [*distractors[:label], true, *distractors[label:]]
        items.append(Item(context=context, choices=choices, label=label, doc_id=doc_id))
    return items, count - strict


def _draw(sentences: Sequence[str], shape: Shape, rng: np.random.Generator) -> tuple[str, str, list[str]] | None:
    """Context, true next sentence and distractors at a random fitting place of one document; None when none fits."""
    words = [len(sentence.split()) for sentence in sentences]
    usable = [
        is_complete(s) and SENTENCE_WORDS[0] <= n <= SENTENCE_WORDS[1] for s, n in zip(sentences, words, strict=True)
    ]
    for place in rng.permutation(len(sentences)).tolist():
        if not usable[place] or (start := _context_start(words, place, shape.context_words)) is None:
            continue
        context = " ".join(sentences[start:place])
        later = [
            i
            for i in range(place + shape.gap, len(sentences))
            if usable[i]
            and words[place] <= shape.length_ratio * words[i] <= shape.length_ratio**2 * words[place]
            and sentences[i] not in context
        ]
        distinct = list({sentences[i]: None for i in later if sentences[i] != sentences[place]})
        if len(distinct) < CHOICES - 1 or sentences[place] in context:
            continue
        picked = rng.choice(len(distinct), CHOICES - 1, replace=False).tolist()
        return context, sentences[place], [distinct[i] for i in picked]
    return None


def _context_start(words: Sequence[int], place: int, least: int) -> int | None:
    """Where a context that ends before `place` starts: the fewest sentences with enough words, if not too many."""
    total, start = 0, place
    while start > 0 and total < least:
        start -= 1
        total += words[start]
    return start if least <= total <= MOST_CONTEXT_WORDS else None
