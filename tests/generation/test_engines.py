"""Both engines compute the model's own next-token logits and write the same rows; a batch changes nothing."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM

from calibrant.errors import InputError
from calibrant.generation.engines.engine_choice import make_engine
from calibrant.generation.engines.stepping_engine import Stepper, SteppingEngine, row_uniforms
from calibrant.generation.engines.transformers_stepper import TransformersStepper
from calibrant.generation.generated_rows import Generated, Prompt, Vocabulary
from calibrant.models.checkpoint.checkpoint_config import load_config
from calibrant.models.checkpoint.loading import load_model
from calibrant.models.decoders.key_value_cache import BLOCK
from calibrant.models.decoders.laid_out_linear import LaidOutLinear, packable
from calibrant.models.decoders.stepping_decoder import SteppingDecoder
from calibrant.models.families.recognition import unlike
from calibrant.settings.text_settings import DecodingSettings

VOCABULARY = Vocabulary((0, 1, 2), 400)
stepping = SteppingDecoder.from_transformers


def small_llama(dtype: torch.dtype = torch.float32, **options: object) -> LlamaForCausalLM:
    config = LlamaConfig(
        **{
            "vocab_size": 400, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3,
            "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 64, **options,
        }
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.to(dtype).eval().requires_grad_(False)


def prompts(count: int, total: int = 40, prefix: int = 3) -> list[Prompt]:
    return [Prompt(i, tuple(range(5 + i, 5 + i + prefix)), total, 1000 + i, "d", prefix) for i in range(count)]


def write(stepper: Stepper, rows: list[Prompt], batch_size: int, **options: object) -> list[Generated]:
    engine = SteppingEngine("test", stepper)
    written = engine.generate(rows, DecodingSettings(**options), VOCABULARY, batch_size, lambda count: None)
    return sorted(written, key=lambda row: row.sample_id)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_key_value_heads": 6},
        {"num_key_value_heads": 1},
        {"head_dim": 16},
        {"attention_bias": True, "mlp_bias": True},
        {"tie_word_embeddings": True},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
    ],
)
@pytest.mark.parametrize("stepper", [stepping, TransformersStepper])
def test_logits_are_the_models_own(options: dict[str, object], stepper: type) -> None:
    ids = torch.randint(3, 400, (4, 20), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = small_llama(**options)(ids).logits
        engine = stepper(small_llama(**options))
        engine.reset(4, 20)
        found = [engine.prefill(ids[:, :7])]
        found += [engine.step(ids[:, i]) for i in range(7, 20)]
    for i, logits in enumerate(found):
        assert torch.allclose(logits, expected[:, 6 + i], atol=1e-4), i


def test_rows_at_different_positions() -> None:
    """Rows enter at different steps and leave from the middle; each still sees exactly its own tokens."""
    ids = torch.randint(3, 400, (4, 24), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = small_llama()(ids).logits
        engine = stepping(small_llama())
        engine.reset(4, 24)
        engine.prefill(ids[:2, :5])
        engine.step(ids[:2, 5])
        entered = engine.prefill(ids[2:, :3])
        assert torch.allclose(entered, expected[2:, 2], atol=1e-4)
        positions = torch.tensor([6, 6, 3, 3])
        rows = torch.arange(4)
        for _ in range(4):
            logits = engine.step(ids[rows, positions])
            assert torch.allclose(logits, expected[rows, positions], atol=1e-4)
            positions += 1
        engine.keep(torch.tensor([0, 2, 3]))
        rows, positions = rows[[0, 2, 3]], positions[[0, 2, 3]]
        for _ in range(6):
            logits = engine.step(ids[rows, positions])
            assert torch.allclose(logits, expected[rows, positions], atol=1e-4)
            positions += 1


def test_bfloat16_is_as_close_to_float32_as_transformers() -> None:
    """Also where a block of the cache is exactly full, and past it."""
    ids = torch.randint(3, 400, (8, BLOCK + 8), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        exact = small_llama()(ids).logits[:, 5:]
        theirs = small_llama(torch.bfloat16)(ids).logits[:, 5:].float()
        engine = stepping(small_llama(torch.bfloat16))
        engine.reset(8, BLOCK + 8)
        engine.prefill(ids[:, :5])
        ours = torch.stack([engine.step(ids[:, i]) for i in range(5, BLOCK + 8)], 1).float()
    assert (ours - exact).abs().mean() < 1.2 * (theirs - exact).abs().mean()
    assert ((ours - exact).abs().mean((0, 2)) < 2 * (theirs - exact).abs().mean()).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_that_outgrow_blocks_of_the_cache(dtype: torch.dtype) -> None:
    """Rows of unlike length enter, grow past several blocks and leave; every position is seen, none is seen twice."""
    options = {"hidden_size": 96, "max_position_embeddings": 128}
    ids = torch.randint(3, 400, (5, 2 * BLOCK + 40), generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        exact = small_llama(**options)(ids).logits
        theirs = small_llama(dtype, **options)(ids).logits.float()
        tolerance = 1e-5 if dtype == torch.float32 else 1.3 * float((theirs - exact).abs().mean())
        engine = stepping(small_llama(dtype, **options))
        engine.reset(5, ids.shape[1])
        engine.prefill(ids[:2, :BLOCK])
        rows, positions = torch.arange(2), torch.tensor([BLOCK, BLOCK])
        errors = []
        for step in range(BLOCK + 35):
            logits = engine.step(ids[rows, positions]).float()
            errors.append((logits - exact[rows, positions]).abs())
            positions = positions + 1
            if step == 5:
                engine.prefill(ids[2:4, : BLOCK + 3])
                rows, positions = torch.arange(4), torch.cat([positions, torch.tensor([BLOCK + 3, BLOCK + 3])])
            if step == 9:
                kept = torch.tensor([0, 2, 3])
                engine.keep(kept)
                rows, positions = rows[kept], positions[kept]
                engine.prefill(ids[4:, :1])
                rows, positions = torch.tensor([0, 2, 3, 4]), torch.cat([positions, torch.tensor([1])])
    scale = float(exact.abs().mean()) if dtype == torch.float32 else 1.0
    if dtype == torch.float32:
        assert max(float(error.max()) for error in errors) < tolerance * 10 * scale
    else:
        assert all(float(error.mean(1).max()) < 3 * tolerance for error in errors)
        assert float(torch.cat(errors).mean()) < tolerance
    assert engine.longest > 2 * BLOCK


@pytest.mark.parametrize("rows", [1, 3, 64, 200])
def test_the_packed_product_is_bit_identical(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(96, 64, generator=generator).bfloat16()
    bias = torch.randn(96, generator=generator).bfloat16()
    x = torch.randn(rows, 64, generator=generator).bfloat16()
    if not packable(weight):
        pytest.skip("this PyTorch has no packed bfloat16 product")
    assert torch.equal(LaidOutLinear(weight)(x), nn.functional.linear(x, weight))
    assert torch.equal(LaidOutLinear(weight, bias)(x), nn.functional.linear(x, weight, bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_follows_a_product_is_applied_to_it(dtype: torch.dtype) -> None:
    """The result is rounded once where the product is packed; elsewhere the product was rounded before, too.

    A number is rounded by half a unit in the last place at most: u = 2^-8 of its size in bfloat16, 2^-24 in float32.
    An error of the product, u |product|, reaches the result times the slope of what follows: 1 for a sum, |other| for
    a product, at most 1.1 for SiLU. Sums of 64 products in float32 are off by 64 · 2^-24 of the sum of their sizes.
    """
    generator = torch.Generator().manual_seed(0)
    x, weight, bias, other = (
        torch.randn(shape, generator=generator).to(dtype) for shape in ((7, 64), (96, 64), (96,), (7, 96))
    )
    linear = LaidOutLinear(weight, bias)
    product = nn.functional.linear(x.double(), weight.double(), bias.double())
    summed = nn.functional.linear(x.double().abs(), weight.double().abs(), bias.double().abs()) * 64 * 2**-24
    u = 2**-8 if dtype == torch.bfloat16 else 2**-24
    once = linear.packed or dtype == torch.float32  # SiLU and sums of float32 are float32's own
    for found, exact, slope in (
        (linear(x, "silu"), nn.functional.silu(product), torch.tensor(1.1)),
        (linear.plus(x, other), product + other.double(), torch.tensor(1.0)),
        (linear.times(x, other), product * other.double(), other.double().abs()),
    ):
        assert found.dtype == dtype
        before = summed if once else summed + u * product.abs()
        # What is rounded at last is itself off by a little; float32's SiLU is computed to some last places.
        bound = slope * before + (1 if dtype == torch.bfloat16 else 4) * u * (exact.abs() + slope * before)
        assert ((found.double() - exact).abs() <= bound + 1e-12).all()


@pytest.mark.parametrize("mode", ["suppress", "stop"])
def test_rows_do_not_depend_on_engine_or_batch(tiny_model_dir: Path, mode: str) -> None:
    rows = prompts(13)
    options = {"end_of_text": mode, "temperature": 1.5}
    expected = write(TransformersStepper(load_model(tiny_model_dir)), rows, 1, **options)
    assert len({row.ids for row in expected}) == 13
    native = stepping(load_model(tiny_model_dir))
    hf = TransformersStepper(load_model(tiny_model_dir))
    for batch_size in (1, 5, 40):
        assert write(native, rows, batch_size, **options) == expected
        assert batch_size == 1 or write(hf, rows, batch_size, **options) == expected


def end_happy(tiny_model_dir: Path) -> nn.Module:
    """The tiny model, whose special tokens are made likely enough that some rows end early."""
    model = load_model(tiny_model_dir)
    model.lm_head.weight[:3] *= 2.0
    return model


def test_stop_ends_rows_where_the_first_special_token_is_drawn(tiny_model_dir: Path) -> None:
    rows = prompts(24)
    options = {"top_k": 0, "temperature": 2.0}
    stopped = write(stepping(end_happy(tiny_model_dir)), rows, 5, end_of_text="stop", **options)
    assert {row.finish_reason for row in stopped} == {"length", "end_of_text"}
    for row in stopped:
        assert not set(row.ids) & {0, 1, 2}
        assert (len(row.ids) == 40) or row.finish_reason == "end_of_text"
        assert row.first_end == (len(row.ids) if row.finish_reason == "end_of_text" else None)


def test_suppress_records_where_a_row_would_have_ended(tiny_model_dir: Path) -> None:
    """A second implementation: the first position where its random number, applied to the model's distribution, gives
    a special token."""
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopPLogitsWarper,
    )

    processors = LogitsProcessorList(
        [RepetitionPenaltyLogitsProcessor(1.2), TemperatureLogitsWarper(2.0), TopPLogitsWarper(0.95)]
    )
    rows = write(stepping(end_happy(tiny_model_dir)), prompts(24), 24, top_k=0, temperature=2.0)
    assert 0 < sum(row.first_end is not None for row in rows) < 24
    model = end_happy(tiny_model_dir)
    for row in rows:
        assert len(row.ids) == 40
        assert row.finish_reason == "length"
        assert not set(row.ids) & {0, 1, 2}
        uniform = row_uniforms(1000 + row.sample_id, 40)
        with torch.inference_mode():
            logits = model(torch.tensor([row.ids])).logits[0]
        ends = []
        for position in range(3, 40):
            p = torch.softmax(processors(torch.tensor([row.ids[:position]]), logits[position - 1 : position]), -1)[0]
            values, order = p.sort(descending=True)
            if int(order[int((values.cumsum(0) <= float(uniform[position])).sum())]) in {0, 1, 2}:
                ends.append(position)
        assert row.first_end == (ends[0] if ends else None)


def test_rows_equal_a_plain_loop(tiny_model_dir: Path) -> None:
    """A second implementation: whole logits each step, transformers' processors, inverse CDF in descending order."""
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        SuppressTokensLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    model = load_model(tiny_model_dir)
    processors = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(1.2),
            SuppressTokensLogitsProcessor([0, 1, 2], device="cpu"),
            TemperatureLogitsWarper(0.6),
            TopKLogitsWarper(50),
            TopPLogitsWarper(0.95),
        ]
    )
    for prompt, found in zip(prompts(3), write(stepping(load_model(tiny_model_dir)), prompts(3), 3), strict=True):
        ids = list(prompt.prefix)
        uniform = row_uniforms(prompt.seed, prompt.total)
        with torch.inference_mode():
            while len(ids) < prompt.total:
                logits = model(torch.tensor([ids])).logits[:, -1]
                p = torch.softmax(processors(torch.tensor([ids]), logits), -1)[0]
                values, order = p.sort(descending=True)
                ids.append(int(order[int((values.cumsum(0) <= float(uniform[len(ids)])).sum())]))
        assert found.ids == tuple(ids)


def test_equal_prefixes_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = stepping(small_llama())
    embed, seen = engine.decoder.embed, []
    monkeypatch.setattr(engine.decoder, "embed", lambda ids: seen.append(len(ids)) or embed(ids))
    engine.reset(5, 10)
    ids = torch.tensor([[3, 4, 5], [9, 8, 7], [3, 4, 5], [3, 4, 5], [9, 8, 7]])
    together = engine.prefill(ids)
    assert seen == [6]
    after = engine.step(torch.arange(5))
    engine.reset(5, 10)
    for i in range(5):
        alone = engine.prefill(ids[i : i + 1])
        torch.testing.assert_close(together[i], alone[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(engine.step(torch.arange(5)), after, atol=1e-4, rtol=1e-4)


def test_the_engine_is_chosen_by_architecture(tiny_model_dir: Path) -> None:
    config = load_config(tiny_model_dir)
    assert unlike(config) is None
    assert make_engine("auto", load_model(tiny_model_dir), config).name == "native"
    other = GPT2Config()
    with pytest.raises(InputError, match="no family is declared for model_type gpt2"):
        make_engine("native", nn.Identity(), other)
    with pytest.raises(InputError, match="use auto, native, transformers or vllm"):
        make_engine("quick", nn.Identity(), other)
    dynamic = LlamaConfig(rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0})
    assert unlike(dynamic, 2048) is None
    assert "change beyond 2,048 tokens, and a text has 2,049" in str(unlike(dynamic, 2049))
