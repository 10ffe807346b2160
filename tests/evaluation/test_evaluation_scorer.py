"""The scorer against the plainest possible computation, over architectures of every sort."""

import itertools
import logging
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from calibrant.errors import InputError
from calibrant.evaluation.likelihood import tree_scorer
from calibrant.evaluation.likelihood.request_tree import Request
from calibrant.evaluation.likelihood.tree_scorer import Scorer, why_not_tree
from calibrant.models.structure import logit_chunks

VOCABULARY = 97
SMALL: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "gpt_neox": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "qwen2": {"num_key_value_heads": 2},
    "bloom": {"n_layer": 2, "n_head": 4},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 8},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 8, "final_logit_softcapping": 2.0},
    "gemma3_text": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 8, "final_logit_softcapping": 3.0},
    "granite": {"num_key_value_heads": 2, "logits_scaling": 4.0},
    "cohere": {"num_key_value_heads": 2, "logit_scale": 0.0625},
    "mamba": {"state_size": 4},
}
# The rest: ALiBi by key position, windows, recurrence.
TREE = ("llama", "gpt_neox", "gpt2", "opt", "qwen2", "granite", "cohere")
DECLARED = ("llama", "qwen2", "mistral", "gemma2", "gemma3_text", "granite")


@pytest.fixture
def by_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of declared families are run by transformers too."""
    monkeypatch.setattr(tree_scorer, "fast_decoder", lambda model, length=0: None)


def small_model(kind: str, **changes: Any) -> nn.Module:
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **SMALL[kind],
        **changes,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings))
        for parameter in model.parameters():  # spread out, so that leaks between choices would show
            nn.init.normal_(parameter, std=0.3)
    return model.eval().requires_grad_(False)


def draw_documents(seed: int, prefix: int = 0, documents: int = 5) -> list[list[Request]]:
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> list[int]:
        return torch.randint(0, VOCABULARY, (count,), generator=generator).tolist()

    shared = draw(prefix)
    result = []
    for _ in range(documents):
        context = shared + draw(int(torch.randint(1, 12, (1,), generator=generator)))
        choices = [draw(int(torch.randint(1, 8, (1,), generator=generator))) for _ in range(4)]
        choices[1] = [*choices[0], 5]  # one continues another
        choices[2] = [*choices[0][:-1], 7]  # one differs in the last token only
        result.append([Request((context + choice)[:-1], choice) for choice in choices])
    return result


def direct(model: nn.Module, request: Request) -> tuple[float, bool]:
    logits = model(input_ids=torch.tensor([request.inputs])).logits[0, request.first_scored :].double()
    targets = torch.tensor(request.targets)
    logprobs = logits.log_softmax(-1).gather(1, targets[:, None])
    return float(logprobs.sum()), bool((logits.argmax(-1) == targets).all())


@pytest.mark.parametrize("kind", DECLARED)
def test_declared_families_are_run_without_padding(kind: str) -> None:
    scorer = Scorer(small_model(kind))
    assert scorer.packed
    assert scorer.tree


@pytest.mark.parametrize("prefix", [0, 20])
@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.usefixtures("by_transformers")
def test_scores_are_those_of_plain_sequences(kind: str, prefix: int) -> None:
    model = small_model(kind)
    documents = draw_documents(1, prefix)
    scorer = Scorer(model, batch_tokens=100)
    assert scorer.tree == (kind in TREE)
    assert not scorer.packed
    for requests, results in zip(documents, scorer.score(documents), strict=True):
        for request, (value, greedy) in zip(requests, results, strict=True):
            expected, expected_greedy = direct(model, request)
            assert value == pytest.approx(expected, abs=1e-4)
            assert greedy == expected_greedy


@pytest.mark.parametrize("kind", ["qwen2", "gemma2", "granite", "cohere"])
@pytest.mark.usefixtures("by_transformers")
def test_logits_of_a_chunk_of_positions_exist_at_a_time(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of models that change logits after the head too; the log says so, once."""
    monkeypatch.setattr(logit_chunks, "HEAD_POSITIONS", 5)
    model = small_model(kind)
    with caplog.at_level(logging.WARNING):
        scorer = Scorer(model, batch_tokens=100)
    assert caplog.text.count("changes logits after its output head") == (kind != "qwen2")
    documents = draw_documents(1, 20)
    rows: list[int] = []
    handle = scorer.head.register_forward_hook(lambda module, inputs, output: rows.append(output[..., 0].numel()))
    scored = scorer.score(documents)
    handle.remove()
    assert max(rows) == 5 < sum(rows)
    for requests, results in zip(documents, scored, strict=True):
        for request, (value, greedy) in zip(requests, results, strict=True):
            expected, expected_greedy = direct(model, request)
            assert value == pytest.approx(expected, abs=1e-4)
            assert greedy == expected_greedy


def test_padding_never_passes_the_last_learned_position() -> None:
    model = small_model("gpt2", n_positions=90)
    request = Request(list(range(1, 91)), [5, 6])  # 90 tokens; rounded up they would be 96
    (((value, _),),) = Scorer(model).score([[request]])
    assert value == pytest.approx(direct(model, request)[0], abs=1e-4)


def test_greedy_continuations_are_recognised() -> None:
    model = small_model("llama")
    context = [3, 14, 15, 92]
    ids = list(context)
    for _ in range(4):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    right = Request(ids[:-1], ids[len(context) :])
    wrong = Request(ids[:-1], [*ids[len(context) : -1], (ids[-1] + 1) % VOCABULARY])
    ((first, second),) = Scorer(model).score([[right, wrong]])
    assert first[1]
    assert not second[1]


@pytest.mark.parametrize("prefix", [0, 20])
def test_the_transformers_path_gives_a_llamas_scores(prefix: int) -> None:
    model = small_model("llama")
    documents = draw_documents(1, prefix)
    packed, padded = Scorer(model).score(documents), Scorer(model, tree=True).score(documents)
    for one, other in zip(itertools.chain(*packed), itertools.chain(*padded), strict=True):
        assert one[0] == pytest.approx(other[0], abs=1e-4)
        assert one[1] == other[1]


@pytest.mark.parametrize("batch_tokens", [1, 30, 10_000])
def test_batches_change_nothing_but_rounding(batch_tokens: int) -> None:
    model = small_model("llama")
    documents = draw_documents(2, prefix=18, documents=9)
    one = Scorer(model, batch_tokens=batch_tokens, tree=True).score(documents)
    two = Scorer(model, batch_tokens=333, tree=True).score(documents)
    for a, b in zip(itertools.chain(*one), itertools.chain(*two), strict=True):
        assert a[0] == pytest.approx(b[0], abs=1e-4)


def test_shared_tokens_are_computed_once() -> None:
    model = small_model("llama")
    documents = draw_documents(3, prefix=40, documents=6)
    seen = 0

    def count(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        nonlocal seen
        seen += arguments[0].numel()

    scorer = Scorer(model, batch_tokens=1, tree=True)  # one document a row: no padding
    handle = model.get_input_embeddings().register_forward_pre_hook(count)
    scorer.score(documents)
    handle.remove()
    distinct = {tuple(r.inputs[:n]) for d in documents for r in d for n in range(1, len(r.inputs) + 1)}
    contexts = {tuple(d[0].inputs[:41]) for d in documents}
    assert seen <= len(distinct) + len(contexts)
    assert seen < sum(len(r.inputs) for d in documents for r in d) / 4


def test_the_head_sees_scored_positions_only() -> None:
    model = small_model("llama")
    documents = draw_documents(4)
    scorer = Scorer(model, tree=True)
    rows: list[int] = []
    handle = scorer.head.register_forward_hook(lambda module, inputs, output: rows.append(output[..., 0].numel()))
    scorer.score(documents)
    handle.remove()
    positions = {
        (i, tuple(r.inputs[:n]))
        for i, d in enumerate(documents)
        for r in d
        for n in range(1, len(r.inputs) + 1)
        if n > r.first_scored
    }
    assert sum(rows) <= len(positions) + len(documents)  # and one position a row that the model's own call asks for


@pytest.mark.usefixtures("by_transformers")
def test_a_model_that_ignores_the_mask_is_found_out(caplog: pytest.LogCaptureFixture) -> None:
    model = small_model("qwen2")
    plain = model.forward

    def deaf(**inputs: Any) -> Any:
        inputs.pop("attention_mask", None)
        return plain(**inputs)

    model.forward = deaf  # type: ignore[method-assign]
    assert "a probe gave other log-likelihoods" in str(why_not_tree(model))
    with caplog.at_level(logging.WARNING):
        assert not Scorer(model).tree
    assert "each choice is a sequence of its own" in caplog.text


def test_reasons_name_what_stands_in_the_way() -> None:
    assert "sliding window of 8" in str(why_not_tree(small_model("mistral")))
    assert "sliding_attention" in str(why_not_tree(small_model("gemma2")))


def test_a_model_without_a_head_is_refused() -> None:
    with pytest.raises(InputError, match="no output head"):
        Scorer(nn.Linear(2, 2))
