"""Self-generation: transformers' `generate`, a plain loop over its model, and Calibrant's engine.

All three write the same number of tokens from the same prefixes with the same settings (top-k 50, top-p 0.95,
temperature 0.6, repetition penalty 1.2, special tokens suppressed). The plain loop is what one writes by hand: the
model's own cache, top-k before the softmax. Examples:

    python benchmarks/generate.py                                       # 32, 64 and 128 rows of 128 new tokens
    python benchmarks/generate.py --batches 32 --new 500 --threads 1
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import arguments, compare, parse, report
from torch import Tensor

from calibrant.calibration.tokens import special_ids
from calibrant.generation.engines.engine_choice import make_engine
from calibrant.generation.generated_rows import Prompt, Vocabulary
from calibrant.models.checkpoint.checkpoint_config import load_config
from calibrant.models.checkpoint.loading import load_model, load_tokenizer
from calibrant.settings.text_settings import DecodingSettings

PREFIX = 4
SETTINGS = DecodingSettings()


def reference(model: Any, ids: Tensor, new: int, special: list[int]) -> Tensor:
    """transformers' own loop."""
    torch.manual_seed(0)
    written: Tensor = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=True,
        top_k=SETTINGS.top_k,
        top_p=SETTINGS.top_p,
        temperature=SETTINGS.temperature,
        repetition_penalty=SETTINGS.repetition_penalty,
        suppress_tokens=special,
        min_new_tokens=new,
        max_new_tokens=new,
        pad_token_id=special[0],
    )
    return written


@torch.inference_mode()
def plain_loop(model: Any, ids: Tensor, new: int, special: list[int]) -> Tensor:
    """A loop by hand: repetition penalty, top-k, then everything else on the k values."""
    generator = torch.Generator().manual_seed(0)
    past, step = None, ids
    for _ in range(new):
        output = model(step, past_key_values=past, use_cache=True, logits_to_keep=1)
        past = output.past_key_values
        logits = output.logits[:, -1].float()
        seen = logits.gather(1, ids)
        penalty = SETTINGS.repetition_penalty
        logits.scatter_(1, ids, torch.where(seen < 0, seen * penalty, seen / penalty))
        logits[:, special] = -torch.inf
        values, tokens = torch.topk(logits / SETTINGS.temperature, SETTINGS.top_k)
        probabilities = torch.softmax(values, dim=-1)
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before > SETTINGS.top_p, 0)
        step = tokens.gather(1, torch.multinomial(probabilities, 1, generator=generator))
        ids = torch.cat([ids, step], dim=1)
    return ids


def ours(engine: Any, ids: Tensor, new: int, vocabulary: Vocabulary) -> Tensor:
    """Calibrant's engine, all rows at once."""
    prompts = [Prompt(i, tuple(row), len(row) + new, i, "d", len(row)) for i, row in enumerate(ids.tolist())]
    written = engine.generate(prompts, SETTINGS, vocabulary, len(prompts), lambda count: None)
    return torch.tensor([row.ids for row in sorted(written, key=lambda row: row.sample_id)])


@torch.inference_mode()
def products(stepper: Any, rows: int, new: int) -> None:
    """The matrix products of our decoder alone: what no arrangement of the rest can go below."""
    decoder, plan = stepper.decoder, stepper.decoder.plan
    hidden = decoder.embed(torch.zeros(rows, dtype=torch.int64))
    heads = torch.randn(rows, plan.heads * plan.width).to(hidden)
    inner = torch.randn_like(decoder.layers[0].up(hidden))
    for _ in range(new):
        for layer in decoder.layers:
            layer.query_key_value(hidden), layer.out(heads), layer.gate(hidden), layer.up(hidden), layer.down(inner)
        decoder.head(hidden)


def check(name: str, rows: Tensor, shape: tuple[int, int], special: list[int]) -> None:
    """Stop where a case did not do the work."""
    if tuple(rows.shape) != shape or set(rows[:, PREFIX:].flatten().tolist()) & set(special):
        raise SystemExit(f"{name}: wrote {tuple(rows.shape)} or special tokens")


def main() -> None:
    """Compare at every batch size."""
    parser = arguments("Calibrant's generation against transformers' generate")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128], help="rows at a time")
    parser.add_argument("--new", type=int, default=128, help="new tokens a row (default 128)")
    parser.add_argument("--only-ours", action="store_true", help="leave the others out (to see an effect on ours)")
    options = parse(parser)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    path = Path(options.model)
    tokenizer = load_tokenizer(path)
    special = special_ids(tokenizer)
    vocabulary = Vocabulary(tuple(special), len(tokenizer))
    model: Any = load_model(path, dtype=options.dtype, device="cpu")
    model.set_attn_implementation("sdpa")  # what transformers takes by itself
    engine = make_engine("auto", load_model(path, dtype=options.dtype, device="cpu"), load_config(path), path)
    comparisons, facts = [], {"engine": engine.name, "prefix": f"{PREFIX} tokens", "new tokens a row": options.new}
    for batch in options.batches:
        ids = torch.randint(1000, 40000, (batch, PREFIX), generator=torch.Generator().manual_seed(batch))
        cases: dict[str, Callable[[int], Tensor | None]] = {
            "transformers generate": lambda new, ids=ids: reference(model, ids, new, special),
            "plain loop": lambda new, ids=ids: plain_loop(model, ids, new, special),
            f"calibrant {engine.name}": lambda new, ids=ids: ours(engine, ids, new, vocabulary),
        }
        if options.only_ours:
            cases = dict(list(cases.items())[-1:])
        if engine.name == "native":
            cases["its matrix products alone"] = lambda new, batch=batch: products(engine.stepper, batch, new)
        for case in cases.values():
            case(8)  # what a first call costs is no part of a rate
        runs = {name: partial(case, options.new) for name, case in cases.items()}
        title, amount = f"{batch} rows x {options.new} new tokens, {options.dtype}", batch * options.new
        comparison, results = compare(title, runs, repeats=options.repeats, warm_up=0, amount=amount, unit="tokens")
        for name, rows in results.items():
            if rows is not None:
                check(name, rows, (batch, PREFIX + options.new), special)
        comparisons.append(comparison)
    report("generate", comparisons, options.output, facts, options.dtype)


if __name__ == "__main__":
    main()
