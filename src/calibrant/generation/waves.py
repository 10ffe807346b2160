"""Self-generation: from prompts to rows, in waves that an interrupted run takes up again."""

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa

from calibrant.calibration.tokens import decode
from calibrant.generation.engine import Engine
from calibrant.generation.generated_rows import Generated, Prompt, Vocabulary
from calibrant.generation.meter import Meter
from calibrant.settings.text_settings import DecodingSettings

STOP_BATCHES = 4  # batches a wave when rows end early: places that empty are filled again within a wave


class Store(Protocol):
    """Where finished waves are kept."""

    def load(self, wave: int) -> list[Generated] | None:
        """The rows of a finished wave, or None."""
        ...

    def save(self, wave: int, rows: Sequence[Generated]) -> None:
        """Keep a finished wave."""
        ...


def generate_rows(
    engine: Engine,
    prompts: Sequence[Prompt],
    settings: DecodingSettings,
    vocabulary: Vocabulary,
    batch_size: int,
    store: Store | None = None,
    meter: Meter | None = None,
    tokens: int = 0,
) -> list[Generated]:
    """Finish every prompt; rows come back in the order of the prompts.

    With `tokens`, no wave is begun once the rows hold so many; those of the first prompts come back then.

    Prompts are worked off in waves of fixed membership (one batch, or several when rows may end early), each kept in
    `store` when done. What shares a batch with what therefore does not depend on interruptions, and the rows are the
    same even where arithmetic depends on the batch.
    """
    size = batch_size if settings.end_of_text == "suppress" else batch_size * STOP_BATCHES
    meter = meter or Meter(prompts, show=False)
    finished: dict[int, Generated] = {}
    for wave, start in enumerate(range(0, len(prompts), size)):
        if tokens and sum(len(row.ids) for row in finished.values()) >= tokens:
            meter.skip(sum(p.total - len(p.prefix) for p in prompts[start:]))
            break
        members = prompts[start : start + size]
        before = meter.drawn
        rows = store.load(wave) if store else None
        if rows is None or {r.sample_id for r in rows} != {p.sample_id for p in members}:
            rows = sorted(
                engine.generate(members, settings, vocabulary, batch_size, meter.add), key=lambda row: row.sample_id
            )
            if store:
                store.save(wave, rows)
        meter.skip(sum(p.total - len(p.prefix) for p in members) - (meter.drawn - before))
        finished.update((row.sample_id, row) for row in rows)
    meter.close()
    return [finished[prompt.sample_id] for prompt in prompts[: len(finished)]]


def to_table(rows: Sequence[Generated], prompts: Sequence[Prompt], tokenizer: Any, source: str) -> pa.Table:
    """Generated rows as a table (columns as `schema.GENERATED_SCHEMA`)."""
    n = len(rows)
    return pa.table(
        {
            "sample_id": pa.array([r.sample_id for r in rows], pa.int64()),
            "input_ids": pa.array([list(r.ids) for r in rows], pa.list_(pa.int32())),
            "text": pa.array([decode(tokenizer, r.ids) for r in rows], pa.string()),
            "source": pa.array([source] * n, pa.string()),
            "origin": pa.array(["synthetic"] * n, pa.string()),
            "doc_ids": pa.array([[p.doc_id] if p.doc_id else [] for p in prompts], pa.list_(pa.string())),
            "prefix_length": pa.array([p.prefix_length for p in prompts], pa.int32()),
            "perplexity": pa.nulls(n, pa.float32()),
            "sample_seed": pa.array([p.seed for p in prompts], pa.int64()),
            "finish_reason": pa.array([r.finish_reason for r in rows], pa.string()),
        }
    )


def end_statistics(rows: Sequence[Generated]) -> dict[str, Any]:
    """How many rows ended or, without suppression, would have ended, and where.

    A row would have ended at the first position where its random number, applied to the distribution with special
    tokens, gives one. `first_end` lists that position, or null, in the order of the rows.
    """
    first = [row.first_end for row in rows]
    ended = [position for position in first if position is not None]
    return {"rows": len(ended), "share": round(len(ended) / len(rows), 6) if rows else 0.0, "first_end": first}
