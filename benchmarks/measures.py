"""What Kullback-Leibler divergence and agreement with the dense model cost beside perplexity alone, in one run.

The dense model's side of the text is made once and shared by all compressed models, so it is timed apart. A model under
magnitude masks of 50 % is measured: which masks does not change the cost.
"""

from pathlib import Path

import torch
from common import ROOT, arguments, compare, parse, report

from calibrant.evaluation.evaluated_text import owned_windows, read_documents_apart
from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.evaluation.text_measures import dense_text, measure_tokens
from calibrant.models.checkpoint.loading import load_model, load_tokenizer

TEXT = ROOT / "data/smollm2-135m/texts/fiction/documents.parquet"
LENGTH = 512


def main() -> None:
    """Run it."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--text", type=Path, default=TEXT, help="a text")
    parser.add_argument("--tokens", type=int, default=4096, help="of it (default 4096)")
    options = parse(parser)
    text = read_documents_apart(
        options.text, load_tokenizer(options.model), tokens=options.tokens, document_tokens=LENGTH
    )
    windows = owned_windows(text, LENGTH, None)
    model = load_model(options.model, dtype=options.dtype, device="cpu")
    forward = Scorer(model).forward
    dense = dense_text(forward, windows, 2048)
    for name, weight in model.named_parameters():
        if "layers" in name and weight.ndim == 2:
            with torch.no_grad():
                weight[weight.abs() < weight.abs().float().median()] = 0
    tokens = sum(windows.counts)
    comparison, found = compare(
        f"{tokens} tokens in windows of {LENGTH}, {options.dtype}",
        {
            "perplexity, divergence and agreement": lambda: measure_tokens(forward, windows, 2048, dense),
            "perplexity alone": lambda: measure_tokens(forward, windows, 2048),
            "the dense side, once": lambda: dense_text(forward, windows, 2048),
        },
        repeats=options.repeats,
        amount=tokens,
        unit="tokens",
    )
    kept = sum(each.numel() * each.element_size() for each in (dense.hidden, *vars(dense.own).values()))
    vocabulary = model.get_output_embeddings().weight.shape[0]  # type: ignore[operator]
    divergence = found["perplexity, divergence and agreement"].divergence
    facts = {
        "extra cost of divergence and agreement": f"{100 * (comparison.ratio('perplexity alone') - 1):.0f} %",
        "dense outputs, bytes a token": f"{kept / tokens:.0f} (its logits: {vocabulary * dense.hidden.element_size()})",
        "mean divergence": f"{float(divergence.mean()):.4f} nats",
    }
    report("measures", [comparison], options.output, facts, options.dtype)


if __name__ == "__main__":
    main()
