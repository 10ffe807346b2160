"""Block attention against PyTorch's kernel and against exact attention, and where it is used."""

import logging
from typing import Any

import pytest
import torch
import transformers as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from one_thread import one_thread  # noqa: F401
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from calibrant.models.compute.devices import BLOCK_ATTENTION
from calibrant.models.decoders import attention_interface as attention
from calibrant.models.decoders import block_attention as blocks
from calibrant.models.decoders.attention_interface import attention_forward, use_attention
from calibrant.models.decoders.block_attention import block_attention

SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
CPU = torch.device("cpu")


def draw(
    batch: int, groups: int, shared: int, queries: int, keys: int, width: int, value_width: int, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Laid out as projections leave them: heads beside each other in a token's row."""
    generator = torch.Generator().manual_seed(seed)

    def tensor(length: int, heads: int, size: int) -> Tensor:
        return torch.randn(batch, length, heads, size, generator=generator).transpose(1, 2)

    return tensor(queries, groups * shared, width), tensor(keys, groups, width), tensor(keys, groups, value_width)


def exact(query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None) -> Tensor:
    """PyTorch's kernel with every mask entry written out, and keys repeated; [batch, queries, heads, width]."""
    shared, (queries, keys) = query.shape[1] // key.shape[1], (query.shape[2], key.shape[2])
    seen = torch.arange(keys) <= torch.arange(queries)[:, None] + keys - queries
    k, v = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    attended = nn.functional.scaled_dot_product_attention(query, k, v, attn_mask=seen, scale=scaling)
    return attended.transpose(1, 2)


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 3),
    groups=st.integers(1, 3),
    shared=st.integers(1, 3),
    queries=st.one_of(st.integers(1, 40), st.integers(120, 300)),
    cached=st.one_of(st.just(0), st.integers(0, 140)),
    width=st.sampled_from([1, 5, 8, 16]),
    value_width=st.sampled_from([3, 8]),
    scaling=st.sampled_from([None, 0.3, 2.0]),
    seed=st.integers(0, 99),
)
def test_agrees_with_pytorch_in_float32(
    batch: int,
    groups: int,
    shared: int,
    queries: int,
    cached: int,
    width: int,
    value_width: int,
    scaling: float | None,
    seed: int,
) -> None:
    q, k, v = draw(batch, groups, shared, queries, queries + cached, width, value_width, seed)
    attended = block_attention(q, k, v, scaling)
    assert attended.is_contiguous()
    torch.testing.assert_close(attended, exact(q, k, v, scaling), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("limit", [1, 20_000, 1 << 30])
def test_the_limit_on_scores_in_memory_changes_nothing(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = draw(2, 3, 2, 200, 200, 16, 16)
    monkeypatch.setattr(blocks, "SCORES", limit)
    torch.testing.assert_close(block_attention(q, k, v), exact(q, k, v), rtol=1e-5, atol=1e-5)


def test_bfloat16_is_about_as_exact_as_pytorchs_kernel() -> None:
    """With scores of tens, as models have them; rounded to bfloat16 as they are they would cost ten times as much."""
    q, k, v = draw(1, 2, 3, 300, 300, 64, 64)
    q, k, v = (q + 2).bfloat16(), (k + 2).bfloat16(), v.bfloat16()  # all scores are near 32
    expected = exact(q.float(), k.float(), v.float())
    kernel, _ = sdpa_attention_forward(nn.Identity(), q, k.repeat_interleave(3, 1), v.repeat_interleave(3, 1), None)

    def error(attended: Tensor) -> float:
        return float((attended.float() - expected).norm() / expected.norm())

    assert error(block_attention(q, k, v)) < 2 * error(kernel)


def module(shared: int, causal: bool = True) -> nn.Module:
    made = nn.Module()
    made.num_key_value_groups, made.is_causal = shared, causal
    return made


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "mask": ({"attention_mask": torch.ones(1, 1, 40, 40).tril().bool()}, "a mask other"),
    "bidirectional": ({"is_causal": False}, "not causal"),
    "window": ({"sliding_window": 8}, "a sliding window"),
    "position bias": ({"position_bias": torch.zeros(1, 4, 40, 40)}, "position_bias"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_it_does_not_cover_goes_to_pytorch(case: str, caplog: pytest.LogCaptureFixture) -> None:
    arguments, reason = CASES[case]
    q, k, v = (tensor.bfloat16() for tensor in draw(1, 2, 2, 40, 40, 16, 16))
    attention._said.clear()
    with caplog.at_level(logging.INFO):
        attended, _ = attention_forward(module(2), q, k, v, **{"attention_mask": None, **arguments})
        attention_forward(module(2), q, k, v, **{"attention_mask": None, **arguments})
    expected, _ = sdpa_attention_forward(module(2), q, k, v, **{"attention_mask": None, **arguments})
    assert torch.equal(attended, expected)
    assert [reason in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_other_number_formats_go_to_pytorch(dtype: torch.dtype) -> None:
    q, k, v = (tensor.to(dtype) for tensor in draw(1, 2, 2, 40, 40, 16, 16))
    attended, _ = attention_forward(module(2), q, k, v, None)
    assert torch.equal(attended, sdpa_attention_forward(module(2), q, k, v, None)[0])


@pytest.mark.parametrize(("queries", "blocks"), [(255, False), (256, True), (767, True), (768, False)])
def test_float32_takes_blocks_where_they_gain(queries: int, blocks: bool) -> None:
    """And is then no further from the exact result than PyTorch's kernel, but for the last bit."""
    q, k, v = draw(1, 2, 2, queries, queries, 16, 16)
    attended, _ = attention_forward(module(2), q, k, v, None)
    kernel, _ = sdpa_attention_forward(module(2), q, k, v, None)
    assert torch.equal(attended, kernel) != blocks
    true = exact(q.double(), k.double(), v.double())
    assert (attended - true).norm() <= 2 * (kernel - true).norm()


@pytest.mark.parametrize(("queries", "keys"), [(1, 60), (20, 60), (8, 8)])
def test_decoding_and_short_texts_go_to_pytorch(queries: int, keys: int) -> None:
    q, k, v = (tensor.bfloat16() for tensor in draw(1, 2, 2, queries, keys, 16, 16))
    attended, _ = attention_forward(module(2), q, k, v, None)
    assert torch.equal(attended, sdpa_attention_forward(module(2), q, k, v, None)[0])


def logits(model: Any, ids: Tensor, **arguments: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=ids, **arguments).logits.float()


def tiny(config: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return tf.AutoModelForCausalLM.from_config(config).eval()


def test_a_bfloat16_model_uses_it_and_stays_as_close_to_float32() -> None:
    config = tf.LlamaConfig(**SMALL)
    ids = torch.randint(0, 97, (2, 150), generator=torch.Generator().manual_seed(0))
    model = tiny(config)
    expected = logits(model, ids)
    model = model.bfloat16()
    by_kernel = logits(model, ids)
    assert use_attention(model, CPU, torch.bfloat16) == BLOCK_ATTENTION
    by_blocks = logits(model, ids)
    assert not torch.equal(by_blocks, by_kernel)
    assert (by_blocks - expected).norm() < 1.5 * (by_kernel - expected).norm()


def test_padding_and_windows_stay_with_pytorch() -> None:
    ids = torch.randint(0, 97, (2, 40), generator=torch.Generator().manual_seed(0))
    padding = torch.ones_like(ids)
    padding[1, :7] = 0
    for config, arguments in (
        (tf.LlamaConfig(**SMALL), {"attention_mask": padding}),
        (tf.MistralConfig(**SMALL, sliding_window=6), {}),
    ):
        model = tiny(config).bfloat16()
        expected = logits(model, ids, **arguments)
        assert use_attention(model, CPU, torch.bfloat16) == BLOCK_ATTENTION
        assert torch.equal(logits(model, ids, **arguments), expected)


def test_models_it_is_not_for_keep_what_they_have() -> None:
    llama = tiny(tf.LlamaConfig(**SMALL))
    assert use_attention(llama, CPU, torch.float16) == "sdpa"
    assert use_attention(llama, CPU, torch.float32, "sdpa") == "sdpa"
    assert use_attention(llama, torch.device("cuda"), torch.bfloat16) == "sdpa"
    falcon = tiny(tf.FalconConfig(vocab_size=97, hidden_size=32, num_hidden_layers=1, num_attention_heads=4)).bfloat16()
    assert use_attention(falcon, CPU, torch.bfloat16) == "sdpa"
    gemma = tiny(tf.Gemma2Config(**SMALL, head_dim=16, attn_implementation="eager")).bfloat16()
    assert use_attention(gemma, CPU, torch.bfloat16) == "eager"
