"""The packed Llama against transformers, and its attention against the definition."""

import logging
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from calibrant.models.decoders.decoder import Decoder
from calibrant.models.decoders.decoder_choice import fast_decoder, unsupported
from calibrant.models.decoders.packed_attention import PackedAttention

VOCABULARY = 97
# Trees as `end` lists: a fork after two nodes, a chain, a fork at the root's child with unequal branches.
TREES = [[6, 6, 4, 4, 6, 6], [5] * 5, [7, 7, 5, 5, 5, 7, 7]]


def small(dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        **changes,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**settings))
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval().requires_grad_(False).to(dtype)


def draw(lengths: list[int], seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]


def packed_logits(decoder: Decoder, rows: list[list[int]]) -> list[Tensor]:
    lengths = [len(row) for row in rows]
    hidden = decoder(
        [token for row in rows for token in row],
        [place for n in lengths for place in range(n)],
        PackedAttention(lengths, decoder.dtype),
    )
    return list(torch.split(decoder.head(hidden), lengths))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_key_value_heads": 4, "head_dim": 24},
        {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
        {
            "rope_parameters": {
                "rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
            }
        },
    ],
    ids=["grouped", "wide heads", "biases", "llama3"],
)  # fmt: skip
def test_logits_are_those_of_transformers(changes: dict[str, Any]) -> None:
    model = small(**changes)
    decoder = fast_decoder(model)
    assert decoder is not None
    rows = draw([300, 41, 40, 33, 7, 1])
    for row, logits in zip(rows, packed_logits(decoder, rows), strict=True):
        expected = model(torch.tensor([row])).logits[0]
        assert torch.allclose(logits, expected, atol=1e-4, rtol=1e-4)


def test_bfloat16_is_as_close_to_float32_as_transformers_is() -> None:
    rows = draw([200, 150, 145, 20], seed=1)
    exact = small()
    rounded = small(torch.bfloat16)
    exact.load_state_dict(rounded.state_dict())  # the same weights, more exactly computed
    decoder = fast_decoder(rounded)
    assert decoder is not None
    ours = theirs = 0.0
    for row, logits in zip(rows, packed_logits(decoder, rows), strict=True):
        truth = exact(torch.tensor([row])).logits[0]
        ours += float((logits.float() - truth).square().sum())
        theirs += float((rounded(torch.tensor([row])).logits[0].float() - truth).square().sum())
    assert ours <= 1.2 * theirs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_change_later_are_seen(dtype: torch.dtype) -> None:
    model = small(dtype)
    decoder = fast_decoder(model)
    assert decoder is not None
    rows = draw([30])
    before = packed_logits(decoder, rows)[0]
    saved = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for name in ("self_attn.k_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"):
        weight = model.get_submodule(f"model.layers.1.{name}").weight.detach()
        weight[:, ::2] = 0  # in place, as masks are put in
        found = packed_logits(decoder, rows)[0]
        fresh = fast_decoder(model)
        assert fresh is not None
        assert torch.equal(found, packed_logits(fresh, rows)[0])
        assert not torch.equal(found, before)
        before = found
    for name, parameter in model.named_parameters():
        parameter.detach().copy_(saved[name])
    dense = Decoder(model)
    assert torch.equal(packed_logits(decoder, rows)[0], packed_logits(dense, rows)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("past", [0, 19])
@pytest.mark.parametrize("ends", [TREES, None], ids=["trees", "chains"])
def test_attention_is_the_definition(dtype: torch.dtype, past: int, ends: list[list[int]] | None) -> None:
    generator = torch.Generator().manual_seed(3)
    heads, groups, width = 6, 2, 8
    lengths = [len(tree) for tree in TREES] if ends else [170, 150, 20, 20, 3]
    total = sum(lengths)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    q, k, v = normal(total, heads, width), normal(total, groups, width), normal(total, groups, width)
    prefix = [(normal(groups, past, width), normal(groups, past, width))] if past else None
    found = PackedAttention(lengths, dtype, ends, prefix)(0, q, k, v).float().view(total, heads, width)
    start = 0
    for number, length in enumerate(lengths):
        end = ends[number] if ends else [length] * length
        for node in range(length):
            seen = [start + j for j in range(node + 1) if node < end[j]]
            for head in range(heads):
                group = head // (heads // groups)
                keys, values = k[seen, group].double(), v[seen, group].double()
                if prefix:
                    keys = torch.cat([prefix[0][0][group].double(), keys])
                    values = torch.cat([prefix[0][1][group].double(), values])
                weights = (keys @ q[start + node, head].double() / math.sqrt(width)).softmax(0)
                expected = (weights @ values).float()
                tolerance = 1e-5 if dtype == torch.float32 else 0.06
                assert torch.allclose(found[start + node, head], expected, atol=tolerance)
        start += length


def test_only_the_positions_asked_for_leave_the_last_layer() -> None:
    model = small()
    decoder = Decoder(model)
    (row,) = draw([50])
    attention = PackedAttention([50], decoder.dtype)
    keep = torch.tensor([3, 49, 20])
    whole = decoder(row, range(50), attention)
    assert torch.allclose(decoder(row, range(50), attention, keep), whole[keep], atol=1e-6)


def test_other_models_are_left_to_transformers(caplog: pytest.LogCaptureFixture) -> None:
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2))
    assert "no family is declared for model_type gpt2" in str(unsupported(gpt2))
    assert "silu" in str(unsupported(small(hidden_act="tanh")))
    assert fast_decoder(gpt2) is None
    other = small()
    plain = other.forward

    def scaled(*arguments: Any, **options: Any) -> Any:
        output = plain(*arguments, **options)
        output.logits = output.logits * 1.5
        return output

    other.forward = scaled
    with caplog.at_level(logging.WARNING):
        assert fast_decoder(other) is None
    assert "other logits than its config says" in caplog.text
