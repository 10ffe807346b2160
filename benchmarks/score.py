"""Perplexity and Min-K%++ of samples, against a loop that takes one sample at a time and holds its whole logits.

Samples are stretches of a text (`--text`, one of the default study's), all of `--length` tokens, and then of lengths
between a quarter of that and all of it.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, arguments, compare, parse, report

from calibrant.calibration.documents import read_documents
from calibrant.calibration.tokens import encode
from calibrant.models.checkpoint.loading import load_model, load_tokenizer
from calibrant.scoring.sample_scores import Score, score_sequences

TEXT = ROOT / "data/smollm2-135m/texts/fiction/documents.parquet"


def main() -> None:
    """Run it."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--text", type=Path, default=TEXT, help="Parquet, JSONL or plain text")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--length", type=int, default=512, help="tokens of a sample")
    options = parse(parser)
    model = load_model(options.model, dtype=options.dtype, device="cpu")
    tokenizer = load_tokenizer(options.model)
    tokens = [i for ids in encode(tokenizer, read_documents(options.text).texts[:64]) for i in ids]
    comparisons, facts = [], {}
    for kind in ("equal", "ragged"):
        rows = _samples(tokens, options.samples, options.length, ragged=kind == "ragged")
        comparison, results = compare(
            f"{kind} lengths: {len(rows)} samples, at most {options.length} tokens, {options.dtype}",
            {
                "one at a time, whole logits": lambda rows=rows: [loop(model, row) for row in rows],
                "calibrant": lambda rows=rows: score_sequences(model, rows, [1] * len(rows)),
            },
            repeats=options.repeats, amount=sum(map(len, rows)), unit="tokens",
        )  # fmt: skip
        comparisons.append(comparison)
        slow, fast = results["one at a time, whole logits"], results["calibrant"]
        runs = zip(*comparison.processor.values(), strict=True)
        facts[f"{kind} lengths: times by processor time"] = f"{np.median([a / b for a, b in runs]):.2f}"
        facts[f"{kind} lengths: median difference of perplexity (relative), of Min-K%++"] = (
            f"{np.median([abs(a.perplexity / b.perplexity - 1) for a, b in zip(slow, fast, strict=True)]):.1g}, "
            f"{np.median([abs(a.min_k_plus_plus - b.min_k_plus_plus) for a, b in zip(slow, fast, strict=True)]):.1g}"
        )
    exact = model if options.dtype == "float32" else load_model(options.model, dtype="float32", device="cpu")
    row = tokens[: options.length]
    a, [b] = loop(exact, row), score_sequences(exact, [row], [1])
    facts["float32, one sample: relative difference of perplexity, difference of Min-K%++"] = (
        f"{abs(a.perplexity / b.perplexity - 1):.1g}, {abs(a.min_k_plus_plus - b.min_k_plus_plus):.1g}"
    )
    report("score", comparisons, options.output, facts, options.dtype)


def _samples(tokens: list[int], count: int, length: int, ragged: bool) -> list[list[int]]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(length // 4, length + 1, count) if ragged else [length] * count
    starts = rng.integers(0, len(tokens) - length, count)
    return [tokens[s : s + n] for s, n in zip(starts.tolist(), map(int, lengths), strict=True)]


@torch.inference_mode()
def loop(model: Any, ids: list[int], k: float = 50) -> Score:
    """As the published code of Min-K%++ does it: log-softmax of whole logits, moments over the vocabulary."""
    tensor = torch.tensor([ids])
    logits = model(tensor, use_cache=False).logits[0, :-1].float()
    logs = logits.log_softmax(-1)
    probabilities = logits.softmax(-1)
    own = logs.gather(-1, tensor[0, 1:, None]).squeeze(-1)
    mean = (probabilities * logs).sum(-1)
    variance = (probabilities * logs.square()).sum(-1) - mean.square()
    relative = ((own - mean) / variance.sqrt()).sort().values
    count = max(1, int(len(relative) * k / 100))
    return Score(math.exp(-float(own.mean())), float(relative[:count].mean()), len(ids) - 1)


if __name__ == "__main__":
    main()
