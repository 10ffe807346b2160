"""Families of models other than SmolLM2: generation and evaluation beside transformers and lm-eval's own `hf`.

Models have the shapes of released ones and random weights, and are written to a temporary folder in the number format
that is compared. Token ids are random too; SmolLM2's tokenizer (`--model`) stands in where lm-eval wants one. In one
process, one case after the other, round after round:

- generation: `--rows` rows of `--new` tokens by transformers' `generate` and by Calibrant, with the same settings;
- evaluation: `--items` questions of four choices, as long as HellaSwag's, by lm-eval's `hf` at each of `--batch-sizes`
  and by Calibrant; the ratio that counts is against the fastest of them;
- beside each, the floor: the model's bare matrix products and its head over as many tokens, by PyTorch's `linear` and,
  where the processor has them, with weights laid out once.

    python benchmarks/families.py                                             # all three, as a study would run them
    python benchmarks/families.py --families gemma-3-270m --layers 2 --new 8  # whether it works
"""

import argparse
import gc
import logging
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Comparison, arguments, compare, parse, report
from generate import PREFIX, check, ours, reference
from lm_eval.models.huggingface import HFLM
from torch import nn
from torch.nn import functional as F  # noqa: N812
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.initialization import no_init_weights

from calibrant.evaluation.likelihood.request_tree import Request, build_tree
from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.generation.engines.engine_choice import make_engine
from calibrant.generation.generated_rows import Vocabulary
from calibrant.models.checkpoint.checkpoint_config import load_config
from calibrant.models.checkpoint.loading import load_model, load_tokenizer
from calibrant.models.decoders.laid_out_linear import LaidOutLinear, packable

# As the released config.json files say them.
SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-0.6b": {
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
        "max_position_embeddings": 40960, "rope_theta": 1e6, "tie_word_embeddings": True,
    },
    "gemma-3-270m": {
        "model_type": "gemma3_text", "vocab_size": 262144, "hidden_size": 640, "intermediate_size": 2048,
        "num_hidden_layers": 18, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256,
        "max_position_embeddings": 32768, "rope_theta": 1e6, "rope_local_base_freq": 1e4, "sliding_window": 512,
        "query_pre_attn_scalar": 256, "tie_word_embeddings": True,
    },
    "llama-3.2-1b": {
        "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
        "max_position_embeddings": 131072, "rope_theta": 5e5, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
        "rope_scaling": {
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    },
}  # fmt: skip
SPECIAL = [0, 1, 2]  # suppressed ids
CONTEXT, CHOICE = (25, 110), (8, 50)  # tokens of HellaSwag's contexts and endings, from and to
FLOOR_TOKENS = 1024  # at a time
PLAIN, LAID_OUT = "bare products", "bare products, laid out"

Item = tuple[list[int], list[list[int]]]  # a context, and choices


def main() -> None:
    """Run it."""
    parser = arguments("Families of models beside transformers and lm-eval")
    parser.add_argument("--families", nargs="+", choices=SHAPES, default=list(SHAPES), help="which to run")
    parser.add_argument("--layers", type=int, help="of each model (default: all)")
    parser.add_argument("--rows", type=int, default=32, help="rows of generation (default 32)")
    parser.add_argument("--new", type=int, default=64, help="new tokens a row (default 64)")
    parser.add_argument("--items", type=int, default=24, help="questions of evaluation (default 24)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32], help="of hf (default 1 8 32)")
    parser.add_argument("--only", choices=("generation", "evaluation"), help="one of the two")
    options = parse(parser)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    comparisons: list[Comparison] = []
    facts: dict[str, Any] = {}
    for name in options.families:
        with tempfile.TemporaryDirectory(prefix="calibrant-families-") as folder:
            path = Path(folder)
            write_model(name, path, options)
            for kind, run in (("generation", generation), ("evaluation", evaluation)):
                if options.only in (None, kind):
                    comparison, found = run(name, path, options)
                    comparisons.append(comparison)
                    facts.update(found)
                gc.collect()
    report("families", comparisons, options.output, facts, options.dtype)


def write_model(name: str, path: Path, options: argparse.Namespace) -> None:
    """A model of a released one's shape with random weights, and a tokenizer."""
    shape = dict(SHAPES[name])
    config = AutoConfig.for_model(shape.pop("model_type"), **shape | layers_of(shape, options.layers))
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, options.dtype))
    model.tie_weights()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.02, generator=generator)
            else:  # gains, at what transformers begins with
                parameter.fill_(0.0 if "gemma" in name else 1.0)
    model.save_pretrained(path)
    for file in options.model.glob("tokenizer*"):
        shutil.copy(file, path)


def layers_of(shape: dict[str, Any], layers: int | None) -> dict[str, Any]:
    """What cutting to so many layers changes."""
    return {} if layers is None else {"num_hidden_layers": min(layers, shape["num_hidden_layers"])}


def load(path: Path, options: argparse.Namespace) -> Any:
    """The model as transformers runs it by itself."""
    model: Any = load_model(path, dtype=options.dtype, device="cpu")
    model.set_attn_implementation("sdpa")
    return model


@torch.inference_mode()
def products(linears: list[Any], weights: list[torch.Tensor], tokens: int) -> None:
    """Every linear's product, with as many tokens."""
    inputs = {weight.shape[1]: torch.randn(tokens, weight.shape[1]).to(weight.dtype) for weight in weights}
    for linear, weight in zip(linears, weights, strict=True):
        linear(inputs[weight.shape[1]])


def floors(model: Any, steps: list[tuple[int, bool]]) -> dict[str, Callable[[], None]]:
    """The bare products of these steps, in two ways.

    Args:
        model: whose weights they are.
        steps: of each, how many tokens, and whether they go through the head alone or through all but the head.
    """
    head = model.get_output_embeddings().weight
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    weights = [weight for weight in weights if weight is not head]

    def run(layout: Callable[[torch.Tensor], Any]) -> Callable[[], None]:
        laid_out = [layout(weight) for weight in weights], [layout(head)]

        def products_of_steps() -> None:
            for tokens, through_head in steps:
                products(laid_out[through_head], [head] if through_head else weights, tokens)

        return products_of_steps

    found = {PLAIN: run(lambda weight: partial(F.linear, weight=weight))}
    if packable(head):
        found[LAID_OUT] = run(LaidOutLinear)
    return found


def times(comparison: Comparison, case: str, other: str) -> str:
    """How many times faster one is than another."""
    return f"{comparison.ratio(case, other):.2f}"


def shares(what: str, comparison: Comparison, own: str) -> dict[str, str]:
    """What part of our time the bare products take."""
    return {
        f"{what}, share of {case} in ours": f"{1 / comparison.ratio(case, own):.2f}"
        for case in (PLAIN, LAID_OUT)
        if case in comparison.seconds
    }


def generation(name: str, path: Path, options: argparse.Namespace) -> tuple[Comparison, dict[str, Any]]:
    """Both write as many rows as long."""
    model = load(path, options)
    vocabulary = Vocabulary(tuple(SPECIAL), model.config.vocab_size)
    engine = make_engine("auto", load(path, options), load_config(path), path)
    ids = torch.randint(1000, 40000, (options.rows, PREFIX), generator=torch.Generator().manual_seed(0))
    theirs, own = "transformers generate", f"calibrant {engine.name}"
    cases: dict[str, Callable[[int], Any]] = {
        theirs: lambda new: reference(model, ids, new, SPECIAL),
        own: lambda new: ours(engine, ids, new, vocabulary),
    }
    for case in cases.values():
        case(min(8, options.new))  # what a first call costs is no part of a rate
    title = f"{described(name, options)}: {options.rows} rows x {options.new} new tokens, {options.dtype}"
    bare = floors(model, [(options.rows, False), (options.rows, True)] * options.new)
    runs = {case: partial(run, options.new) for case, run in cases.items()} | bare
    amount = options.rows * options.new
    comparison, results = compare(title, runs, repeats=options.repeats, warm_up=0, amount=amount, unit="tokens")
    for case in (theirs, own):
        check(case, results[case], (options.rows, PREFIX + options.new), SPECIAL)
    return comparison, {
        f"{name}: generation, times {theirs}": times(comparison, own, theirs),
        **shares(f"{name}: generation", comparison, own),
    }


def evaluation(name: str, path: Path, options: argparse.Namespace) -> tuple[Comparison, dict[str, Any]]:
    """Both give every choice its log-likelihood."""
    model, tokenizer = load(path, options), load_tokenizer(path)
    items = draw_items(options.items)
    scorer = Scorer(model)

    def hf(size: int) -> list[float]:
        lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=size)
        asked = [(("", ""), context, choice) for context, choices in items for choice in choices]
        return [value for value, _ in lm._loglikelihood_tokens(asked, disable_tqdm=True)]

    def calibrant() -> list[float]:
        scored = scorer.score(documents(items))
        return [value for results in scored for value, _ in results]

    trees = [build_tree(document) for document in documents(items)]
    tokens, scored = sum(map(len, trees)), sum(len(set().union(*tree.scored)) for tree in trees)
    steps = [
        (min(FLOOR_TOKENS, count - start), through_head)
        for count, through_head in ((tokens, False), (scored, True))
        for start in range(0, count, FLOOR_TOKENS)
    ]
    cases: dict[str, Callable[[], Any]] = {f"hf, batch {size}": partial(hf, size) for size in options.batch_sizes}
    title = f"{described(name, options)}: {options.items} questions of four choices, {options.dtype}"
    runs = {**cases, "calibrant": calibrant, **floors(model, steps)}
    comparison, results = compare(title, runs, repeats=options.repeats, amount=options.items, unit="questions")
    best = min(cases, key=comparison.median)
    away = np.abs(np.subtract(results["calibrant"], results[best]))
    comparison.notes["calibrant"] = "our own decoder" if scorer.packed else "transformers' modules"
    return comparison, {
        f"{name}: evaluation, times {best}, the best": times(comparison, "calibrant", best),
        **shares(f"{name}: evaluation", comparison, "calibrant"),
        f"{name}: log-likelihoods, largest and mean distance from {best}": f"{away.max():.2g}, {away.mean():.2g}, "
        f"of {abs(np.mean(results[best])):.3g} nats on average",
        f"{name}: tokens of all choices as sequences; as trees; of them scored": f"{sum(map(_length, items))}; "
        f"{tokens}; {scored}",
    }


def described(name: str, options: argparse.Namespace) -> str:
    """A shape's name, with how many of its layers there are."""
    cut = layers_of(SHAPES[name], options.layers)
    return f"{name}, {cut['num_hidden_layers']} layers" if cut else name


def draw_items(count: int) -> list[Item]:
    """Questions of four choices."""
    rng = np.random.default_rng(0)

    def draw(bounds: tuple[int, int]) -> list[int]:
        drawn: list[int] = rng.integers(1000, 40000, int(rng.integers(*bounds))).tolist()
        return drawn

    return [(draw(CONTEXT), [draw(CHOICE) for _ in range(4)]) for _ in range(count)]


def documents(items: list[Item]) -> list[list[Request]]:
    """The same as requests."""
    return [[Request((context + choice)[:-1], choice) for choice in choices] for context, choices in items]


def _length(item: Item) -> int:
    context, choices = item
    return sum(len(context) + len(choice) - 1 for choice in choices)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
