"""Multiple-choice items from documents: which of four sentences of the same document comes next?

The distractors come later in the same document and are of similar length, so topic, style and length do not
give the answer away: only how the text goes on does.
"""

from collections.abc import Iterable, Sequence
from typing import TypedDict

import numpy as np

from calibrant.errors import InputError
from calibrant.sources.sentences import is_complete, split_sentences

CHOICES = 4
CONTEXT_WORDS = (40, 80)  # at sentence boundaries: from the first number of words, never above the second
SENTENCE_WORDS = (5, 40)
LENGTH_RATIO = 2.0  # a distractor has between half and twice the words of the true sentence


class Item(TypedDict):
    """A row of task data: `choices[label]` is the sentence that follows `context` in document `doc_id`."""

    context: str
    choices: list[str]
    label: int
    doc_id: str


def build_items(documents: Iterable[tuple[str, str]], count: int, seed: int) -> list[Item]:
    """`count` items from (doc_id, text) pairs, at most one a document, the true answer equally often at each place.

    Which documents, which place in each and which distractors follow from `seed` and the documents alone.

    Raises:
        InputError: fewer than `count` items can be built; the message says how many.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, count])))
    ordered = sorted(documents)
    chosen: list[tuple[str, str, str, list[str]]] = []
    for index in rng.permutation(len(ordered)):
        if len(chosen) == count:
            break
        doc_id, text = ordered[int(index)]
        if (parts := _draw(split_sentences(text), rng)) is not None:
            chosen.append((doc_id, *parts))
    if len(chosen) < count:
        raise InputError(
            f"only {len(chosen)} items can be built from {len(ordered)} held-out documents (one a document), "
            f"{count} were asked for; ask for fewer, or hold out more"
        )
    labels = rng.permutation(np.arange(count) % CHOICES)
    items = []
    for (doc_id, context, true, distractors), label in zip(chosen, labels.tolist(), strict=True):
        choices = [*distractors[:label], true, *distractors[label:]]
        items.append(Item(context=context, choices=choices, label=label, doc_id=doc_id))
    return items


def _draw(sentences: Sequence[str], rng: np.random.Generator) -> tuple[str, str, list[str]] | None:
    """Context, true next sentence and distractors at a random fitting place of one document; None when none fits."""
    words = [len(sentence.split()) for sentence in sentences]
    usable = [
        is_complete(s) and SENTENCE_WORDS[0] <= n <= SENTENCE_WORDS[1] for s, n in zip(sentences, words, strict=True)
    ]
    for place in rng.permutation(len(sentences)).tolist():
        if not usable[place] or (start := _context_start(words, place)) is None:
            continue
        context = " ".join(sentences[start:place])
        later = [
            i
            for i in range(place + 2, len(sentences))  # the next but one at the earliest: its neighbour is too close
            if usable[i]
            and words[place] / LENGTH_RATIO <= words[i] <= words[place] * LENGTH_RATIO
            and sentences[i] not in context
        ]
        distinct = list({sentences[i]: None for i in later if sentences[i] != sentences[place]})
        if len(distinct) < CHOICES - 1 or sentences[place] in context:
            continue
        picked = rng.choice(len(distinct), CHOICES - 1, replace=False).tolist()
        return context, sentences[place], [distinct[i] for i in picked]
    return None


def _context_start(words: Sequence[int], place: int) -> int | None:
    """Where a context that ends before `place` starts: the fewest sentences with enough words, if not too many."""
    total, start = 0, place
    while start > 0 and total < CONTEXT_WORDS[0]:
        start -= 1
        total += words[start]
    return start if CONTEXT_WORDS[0] <= total <= CONTEXT_WORDS[1] else None
