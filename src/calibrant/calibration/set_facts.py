"""What is known of a calibration set: of itself, of its own record, and of whoever chose it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from calibrant.calibration.round_trip import RoundTrip, round_trip
from calibrant.calibration.sample_set import SampleSet
from calibrant.calibration.set_export import all_text
from calibrant.calibration.set_recipe import set_recipe

DECODING = ("top_k", "top_p", "temperature", "repetition_penalty", "end_of_text")


@dataclass(frozen=True)
class SourceShare:
    """A source of a set, and how much of the set is of it.

    Attributes:
        name: "" where the rows do not say.
        origin: `real`, `synthetic` or "".
        rows: sequences.
        tokens: of these.
        documents: from which the rows are, or which begin them; 0 where the rows do not say.
        licence: as the source's provenance states it; "" where it does not.
        note: what the text is, in words.
    """

    name: str
    origin: str
    rows: int
    tokens: int
    documents: int = 0
    licence: str = ""
    note: str = ""


@dataclass(frozen=True)
class Writing:
    """How a model wrote the rows.

    Attributes:
        model: which.
        prefix_length: tokens of a document that begin a row; None where it is not recorded.
        decoding: its settings by name.
        drop: the share of the rows that were dropped, those of highest perplexity; None where it is not recorded.
    """

    model: str
    prefix_length: int | None
    decoding: Mapping[str, Any]
    drop: float | None


@dataclass(frozen=True)
class SetFacts:
    """What a card says of a calibration set.

    Attributes:
        name: what it is called, in a few words.
        sources: the shares of its sources, the largest first.
        sequences: rows.
        tokens: of all rows.
        length: tokens of a row; None where rows differ.
        model: whose tokenizer made it; "" where it is not recorded.
        tokenizer_sha256: of that; "" too.
        seed: number of the set, or seed of its draw; None where it is not recorded.
        available: rows of the same text, from which sets of other numbers are; None where it is not recorded.
        documents_sha256: of the file of the text; "" where it is not recorded.
        sha256: of the set's file.
        writing: how a model wrote it; None for real text.
        recipe: the commands that make it again.
        version: of Calibrant.
        purpose: the end of `It was chosen ...`; "" for a set that nobody chose.
        decided: how, in a sentence.
        kept_out: what was taken out of the sources beforehand, a sentence each.
        again: whether the text gives the ids again; None where it was not counted.
        text: whether every row has one.
    """

    name: str
    sources: tuple[SourceShare, ...]
    sequences: int
    tokens: int
    length: int | None = None
    model: str = ""
    tokenizer_sha256: str = ""
    seed: int | None = None
    available: int | None = None
    documents_sha256: str = ""
    sha256: str = ""
    writing: Writing | None = None
    recipe: tuple[str, ...] = ()
    version: str = ""
    purpose: str = ""
    decided: str = ""
    kept_out: tuple[str, ...] = field(default=())
    again: RoundTrip | None = None
    text: bool = True


def set_facts(
    samples: SampleSet,
    name: str,
    *,
    sha256: str = "",
    earlier: Sequence[Mapping[str, Any]] = (),
    documents: str = "",
    licences: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    purpose: str = "",
    decided: str = "",
    kept_out: Sequence[str] = (),
    tokenizer: Any = None,
) -> SetFacts:
    """The facts of a set that was read, with what only its caller knows.

    Args:
        samples: the set.
        name: what to call it.
        sha256: of its file.
        earlier: metadata of the files that it was made of, as `set_recipe` takes them.
        documents: the file of the text, for the recipe.
        licences: of the sources, by their names.
        notes: on the sources, by their names.
        purpose: the end of `It was chosen ...`, such as `to prune gpt2 to 50 % by Wanda for text like use`.
        decided: how, in a sentence.
        kept_out: what was taken out of the sources, a sentence each.
        tokenizer: the one that the ids are of, to count the rows whose text gives other ids; None where it is not at
            hand, and nothing is counted.
    """
    metadata = samples.metadata
    lengths = pc.list_value_length(samples.table["input_ids"]).to_pylist()
    written = _generation(metadata, earlier)
    return SetFacts(
        name=name,
        sources=_shares(samples, lengths, licences or {}, notes or {}),
        sequences=len(samples),
        tokens=sum(lengths),
        length=lengths[0] if len(set(lengths)) == 1 else None,
        model=str(metadata.get("model") or ""),
        tokenizer_sha256=str(metadata.get("tokenizer_sha256") or ""),
        seed=metadata.get("seed"),
        available=(metadata.get("block") or {}).get("available"),
        documents_sha256=str(({**written, **metadata}.get("inputs") or {}).get("documents") or _documents(written)),
        sha256=sha256,
        writing=_writing(metadata, earlier, written) if metadata.get("origin") == "synthetic" else None,
        recipe=tuple(set_recipe(metadata, earlier, documents)),
        version=str(metadata.get("library_version") or ""),
        purpose=purpose,
        decided=decided,
        kept_out=tuple(kept_out),
        again=None if tokenizer is None else round_trip(samples, tokenizer),
        text=all_text(samples.table),
    )


def _shares(
    samples: SampleSet, lengths: Sequence[int], licences: Mapping[str, str], notes: Mapping[str, str]
) -> tuple[SourceShare, ...]:
    table, count = samples.table, len(samples)
    columns = {
        name: table[name].to_pylist() if name in table.column_names else [None] * count
        for name in ("source", "origin", "doc_ids")
    }
    rows: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(columns["source"], columns["origin"], strict=True)):
        rows.setdefault((key[0] or "", key[1] or ""), []).append(row)
    found = [
        SourceShare(
            name=source,
            origin=origin,
            rows=len(own),
            tokens=sum(lengths[row] for row in own),
            documents=len({document for row in own for document in columns["doc_ids"][row] or ()}),
            licence=licences.get(source, ""),
            note=notes.get(source, ""),
        )
        for (source, origin), own in rows.items()
    ]
    return tuple(sorted(found, key=lambda share: (-share.tokens, share.name, share.origin)))


def _generation(metadata: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The record of the generation on the way to a set; {} where there is none."""
    steps = [each for step in (metadata, *earlier) for each in (step, step.get("samples") or {})]
    return next((step for step in steps if step.get("stage") == "generate"), {})


def _documents(step: Mapping[str, Any]) -> str:
    return str((step.get("inputs") or {}).get("documents") or "")


def _writing(metadata: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]], written: Mapping[str, Any]) -> Writing:
    settings = written.get("settings") or {}
    drops = [step.get("settings", {}).get("drop") for step in (metadata, *earlier) if step.get("stage") == "filter"]
    known = [drop for drop in drops if drop is not None]
    return Writing(
        model=str(written.get("model") or metadata.get("model") or ""),
        prefix_length=settings.get("prefix_length"),
        decoding={name: settings[name] for name in DECODING if name in settings},
        drop=max(known) if known else None,
    )
