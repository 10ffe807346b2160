"""Every family of the fast decoder against transformers: logits, tokens, log-likelihoods, masks, bad configurations.

`family_table` holds one small random model a row.
"""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from family_table import (
    BY_NAME,
    FAMILIES,
    FIRST,
    FULL,
    WINDOW,
    Family,
    draw_rows,
    everything_in_float64,
    plain_logits,
    small_model,
)
from one_thread import one_thread  # noqa: F401
from safetensors import safe_open
from support import make_text
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.initialization import no_init_weights

from calibrant.errors import InputError
from calibrant.evaluation.likelihood.request_tree import Request
from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.generation.engines.engine_choice import make_engine
from calibrant.generation.generated_rows import Generated, Prompt, Vocabulary
from calibrant.models.checkpoint.checkpoint_config import load_config
from calibrant.models.checkpoint.loading import load_model, load_tokenizer
from calibrant.models.decoders import packed_attention
from calibrant.models.decoders.decoder import Decoder
from calibrant.models.decoders.decoder_choice import _said, fast_decoder, unsupported
from calibrant.models.decoders.key_value_cache import BLOCK
from calibrant.models.decoders.stepping_decoder import SteppingDecoder
from calibrant.models.families.recognition import unlike
from calibrant.settings.text_settings import DecodingSettings

LENGTHS = [3 * WINDOW + 8, 2 * WINDOW, WINDOW + 1, WINDOW, 1]
FAST = tuple(family for family in FAMILIES if family.fast)
SPECIAL = (0, 1, 2)
all_families = pytest.mark.parametrize("family", FAMILIES, ids=str)
fast_families = pytest.mark.parametrize("family", FAST, ids=str)
one_row_each = pytest.mark.parametrize("family", FIRST, ids=str)


def decoder_of(model: Any, family: Family) -> Any:
    """The decoder; it must be there for a fast family, and may be for another one."""
    decoder = fast_decoder(model)
    if decoder is None and not family.fast:
        pytest.skip(f"left to transformers: {unsupported(model)}")
    assert decoder is not None, unsupported(model)
    return decoder


def packed_logits(decoder: Any, rows: list[list[int]]) -> list[Tensor]:
    lengths = [len(row) for row in rows]
    tokens = [token for row in rows for token in row]
    places = [place for length in lengths for place in range(length)]
    hidden = decoder(tokens, places, decoder.attention(lengths))
    return list(torch.split(decoder.head(hidden), lengths))


def distance(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest difference, as a share of the largest logit."""
    assert [each.shape for each in found] == [each.shape for each in expected]
    difference = (torch.cat(found).double() - torch.cat(expected).double()).abs().max()
    return float(difference / torch.cat(expected).abs().max())


# The table itself.


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.off], ids=str)
def test_a_row_shows_what_it_is_there_for(family: Family) -> None:
    """Without the thing its logits are other ones, so that a decoder that forgets it is found out."""
    rows = draw_rows(LENGTHS)
    model = small_model(family)
    whole = [plain_logits(model, row) for row in rows]
    for change in family.off:
        other = small_model(family, **change)
        assert distance([plain_logits(other, row) for row in rows], whole) > 0.02, change


@fast_families
def test_a_row_of_the_table_is_covered(family: Family) -> None:
    assert unlike(family.make_config()) is None
    assert unsupported(small_model(family)) is None


# Logits.


@all_families
def test_logits_are_those_of_transformers_to_ten_digits(family: Family) -> None:
    rows = draw_rows(LENGTHS)
    with everything_in_float64():
        model = small_model(family, torch.float64)
        found = packed_logits(decoder_of(model, family), rows)
        assert distance(found, [plain_logits(model, row) for row in rows]) < 1e-10


@all_families
def test_logits_in_float32_are_as_close_to_exact_ones_as_those_of_transformers(family: Family) -> None:
    rows = draw_rows(LENGTHS)
    model = small_model(family)
    found = packed_logits(decoder_of(model, family), rows)
    theirs = [plain_logits(model, row) for row in rows]
    with everything_in_float64():
        exact = small_model(family, torch.float64)
        truth = [plain_logits(exact, row) for row in rows]
    assert distance(found, truth) <= 2 * distance(theirs, truth) + 1e-6


@fast_families
def test_logits_in_bfloat16_are_as_close_to_float32_as_those_of_transformers(family: Family) -> None:
    """Of a token whose experts are almost as likely as others, rounding may choose others: of those not the sum, but
    the middle one counts."""
    rows = draw_rows([70, 65, 60, 25], seed=1)
    rounded, exact = small_model(family, torch.bfloat16), small_model(family)
    exact.load_state_dict(rounded.state_dict())  # the same weights, more exactly computed
    found = packed_logits(decoder_of(rounded, family), rows)
    ours, theirs = [], []
    for row, logits in zip(rows, found, strict=True):
        truth = plain_logits(exact, row)
        ours.append((logits.float() - truth).square().sum(-1))
        theirs.append((plain_logits(rounded, row).float() - truth).square().sum(-1))
    if family.experts:
        assert torch.cat(ours).median() <= 1.5 * torch.cat(theirs).median()
    else:
        assert torch.cat(ours).sum() <= 1.4 * torch.cat(theirs).sum()


@fast_families
def test_only_the_positions_asked_for_leave_the_last_layer(family: Family) -> None:
    model = small_model(family)
    decoder = decoder_of(model, family)
    (row,) = draw_rows([20])
    keep = torch.tensor([3, 19, 11])
    hidden = decoder(row, range(20), decoder.attention([20]), keep)
    assert distance([decoder.head(hidden)], [plain_logits(model, row)[keep]]) < 1e-5


# Masks.


def halve(parameter: nn.Parameter) -> None:
    parameter.detach()[..., ::2] = 0  # in place, as masks are put in


@fast_families
def test_masks_put_in_place_are_seen(family: Family) -> None:
    """In each matrix of a layer, one after the other, experts' too; and their removal."""
    model = small_model(family)
    decoder = decoder_of(model, family)
    rows = draw_rows([WINDOW + 4])
    saved = {name: parameter.clone() for name, parameter in model.named_parameters()}
    before = dense = packed_logits(decoder, rows)
    for name, parameter in model.named_parameters():
        if ".1." in name and parameter.ndim > 1:
            halve(parameter)
            found = packed_logits(decoder, rows)
            assert distance(found, [plain_logits(model, rows[0])]) < 1e-5, name
            assert distance(found, before) > 1e-3, name
            before = found
    for name, parameter in model.named_parameters():
        parameter.detach().copy_(saved[name])
    assert torch.equal(packed_logits(decoder, rows)[0], dense[0])


@one_row_each
def test_masks_put_in_place_are_seen_in_bfloat16(family: Family) -> None:
    """Where weights are laid out anew: as a decoder that is made of the masked model sees them."""
    model = small_model(family, torch.bfloat16)
    decoder = decoder_of(model, family)
    rows = draw_rows([WINDOW + 4])
    before = packed_logits(decoder, rows)[0]
    for name, parameter in model.named_parameters():
        if ".1." in name and parameter.ndim > 1:
            halve(parameter)
    found = packed_logits(decoder, rows)[0]
    other = small_model(family, torch.bfloat16)
    other.load_state_dict(model.state_dict())
    assert torch.equal(found, packed_logits(decoder_of(other, family), rows)[0])
    assert not torch.equal(found, before)


# Log-likelihoods.


def draw_documents(prefix: int, documents: int = 2) -> list[list[Request]]:
    """Questions of four choices, of which one continues another and one differs at the end; all share a prefix."""
    lengths = iter(draw_rows([200], seed=prefix)[0])

    def draw(least: int, most: int) -> list[int]:
        count = least + next(lengths) % (most - least + 1)
        return [next(lengths) for _ in range(count)]

    shared = draw(prefix, prefix)
    result = []
    for _ in range(documents):
        context = shared + draw(2, WINDOW + 3)
        choices = [draw(2, WINDOW + 2), [], [], draw(1, 5)]
        choices[1] = [*choices[0], 5]
        choices[2] = [*choices[0][:-1], 7]
        result.append([Request((context + choice)[:-1], choice) for choice in choices])
    return result


def of_plain_sequence(model: Any, request: Request) -> tuple[float, bool]:
    """What transformers' logits of one sequence give."""
    logits = plain_logits(model, request.inputs)[request.first_scored :].double()
    targets = torch.tensor(request.targets)
    values = logits.log_softmax(-1).gather(1, targets[:, None])
    return float(values.sum()), bool((logits.argmax(-1) == targets).all())


@fast_families
@pytest.mark.parametrize("prefix", [0, 20])
def test_trees_of_choices_score_as_plain_sequences_do(family: Family, prefix: int) -> None:
    documents = draw_documents(prefix)
    with everything_in_float64():
        model = small_model(family, torch.float64)
        scorer = Scorer(model, batch_tokens=60)
        assert scorer.packed
        scored = scorer.score(documents)
        for requests, results in zip(documents, scored, strict=True):
            for request, (value, greedy) in zip(requests, results, strict=True):
                expected, expected_greedy = of_plain_sequence(model, request)
                assert value == pytest.approx(expected, rel=1e-10)
                assert greedy == expected_greedy


@pytest.mark.parametrize("name", ["qwen3", "gemma3_text", "mixtral"])
def test_items_score_as_by_lm_eval(name: str, tiny_model_dir: Path) -> None:
    """The same texts by lm-eval's own `hf` model and by ours, in float32."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from calibrant.evaluation.tasks.lm_eval_model import TreeLM

    model = small_model(BY_NAME[name], vocab_size=400)
    tokenizer = load_tokenizer(tiny_model_dir)
    items = [
        Instance("loglikelihood", {}, (make_text(9, 10 * item), " " + make_text(4, 10 * item + choice)), choice)
        for item in range(4)
        for choice in range(3)
    ]
    for number, item in enumerate(items):
        item.task_name, item.doc_id, item.repeats = "t", number // 3, 1
    scorer = Scorer(model)
    assert scorer.packed
    found = TreeLM(model, tokenizer, scorer).loglikelihood(items, disable_tqdm=True)
    reference = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=5)
    wanted = reference.loglikelihood(items, disable_tqdm=True)
    for (value, greedy), (expected, expected_greedy) in zip(found, wanted, strict=True):
        assert value == pytest.approx(expected, rel=1e-5)
        assert greedy == expected_greedy
    assert len({value for value, _ in found}) == len(items)


# Generation.

DRAWING = DecodingSettings(temperature=1.2, top_k=40)


def some_prompts() -> list[Prompt]:
    """Rows that begin and end at unlike places, longer than a window."""
    beginnings = draw_rows([3, 3, 3, WINDOW + 2, WINDOW + 2, WINDOW + 2], seed=5)
    totals = [9, 17, 13, 17, 17, 12]
    return [
        Prompt(i, tuple(begun), total, 100 + i, "d", len(begun))
        for i, (begun, total) in enumerate(zip(beginnings, totals, strict=True))
    ]


def write(name: str, model: Any, batch_size: int) -> list[Generated]:
    engine = make_engine(name, model, model.config)
    assert engine.name == name
    vocabulary = Vocabulary(SPECIAL, model.config.vocab_size)
    rows = engine.generate(some_prompts(), DRAWING, vocabulary, batch_size, lambda count: None)
    return sorted(rows, key=lambda row: row.sample_id)


@fast_families
def test_the_native_engine_draws_the_tokens_of_transformers(family: Family) -> None:
    """Rows enter beside others that are under way, and leave before them."""
    with everything_in_float64():
        expected = write("transformers", small_model(family, torch.float64), 7)
        assert len({row.ids[-1] for row in expected}) > 3
        assert write("native", small_model(family, torch.float64), 3) == expected


@one_row_each
def test_in_float32_tokens_differ_at_most_where_two_are_as_likely(family: Family) -> None:
    """Of six rows one may have such a place; behind it all is other text."""
    expected = write("transformers", small_model(family), 7)
    found = write("native", small_model(family), 3)
    assert [len(row.ids) for row in found] == [len(row.ids) for row in expected]
    parted = [(a, b) for a, b in zip(found, expected, strict=True) if a.ids != b.ids]
    assert len(parted) <= 1
    for ours, theirs in parted:
        place = next(i for i, (a, b) in enumerate(zip(ours.ids, theirs.ids, strict=True)) if a != b)
        assert distance_from_a_tie(family, theirs, place) < 1e-4


def distance_from_a_tie(family: Family, row: Generated, place: int) -> float:
    """How far the random number at a place is from drawing another token, or two tokens are from changing places.

    By transformers' own processors, in float64.
    """
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        SuppressTokensLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    from calibrant.generation.engines.stepping_engine import row_uniforms

    processors = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(DRAWING.repetition_penalty),
            SuppressTokensLogitsProcessor(list(SPECIAL), device="cpu"),
            TemperatureLogitsWarper(DRAWING.temperature),
            TopKLogitsWarper(DRAWING.top_k),
            TopPLogitsWarper(DRAWING.top_p),
        ]
    )
    ids = list(row.ids[:place])
    with everything_in_float64():
        logits = plain_logits(small_model(family, torch.float64), ids)[-1:]
        p = torch.softmax(processors(torch.tensor([ids]), logits), -1)[0].sort(descending=True).values
    uniform = float(row_uniforms(100 + row.sample_id, len(row.ids))[place])
    edge = (p.cumsum(0) - uniform).abs().min()
    order = (p[:-1] - p[1:])[p[1:] > 0].min()
    return float(torch.minimum(edge, order))


@fast_families
@torch.no_grad()
def test_stepping_in_bfloat16_is_as_close_to_float32_as_transformers(family: Family) -> None:
    """Rows at unlike places, past a window and past a block of the cache; one leaves, another enters.

    On a CPU scores are rounded to bfloat16 before the softmax, where transformers' kernel keeps float32: the error, a
    root of these squares, is up to 1.4 times as large.
    """
    ids = torch.tensor(draw_rows([BLOCK + 12] * 4, seed=2))
    rounded, exact = small_model(family, torch.bfloat16), small_model(family)
    exact.load_state_dict(rounded.state_dict())
    truth = torch.stack([plain_logits(exact, row) for row in ids.tolist()])
    theirs = torch.stack([plain_logits(rounded, row) for row in ids.tolist()]).float()
    stepper = SteppingDecoder.from_transformers(rounded)
    stepper.reset(4, ids.shape[1])
    stepper.prefill(ids[:2, :5])
    stepper.prefill(ids[2:3, :2])
    rows, places = torch.tensor([0, 1, 2]), torch.tensor([5, 5, 2])
    ours, errors = [], []
    for step in range(BLOCK + 7):
        logits = stepper.step(ids[rows, places]).float()
        ours.append((logits - truth[rows, places]).square().sum(-1))
        errors.append((theirs[rows, places] - truth[rows, places]).square().sum(-1))
        places = places + 1
        if step == WINDOW:
            stepper.keep(torch.tensor([0, 2]))
            stepper.prefill(ids[3:, :1])
            rows, places = torch.tensor([0, 2, 3]), torch.cat([places[[0, 2]], torch.tensor([1])])
    if family.experts:
        assert torch.cat(ours).median() <= 2.5 * torch.cat(errors).median()
    else:
        assert torch.cat(ours).sum() <= 2 * torch.cat(errors).sum()


# Texts beyond the length at which rotary frequencies change.


def test_texts_that_are_too_long_are_left_to_transformers(caplog: pytest.LogCaptureFixture) -> None:
    model = small_model(BY_NAME["phi3 longrope"])
    short, long = draw_rows([96, 97])
    decoder = decoder_of(model, BY_NAME["phi3 longrope"])
    assert distance(packed_logits(decoder, [short]), [plain_logits(model, short)]) < 1e-5
    with pytest.raises(InputError, match="phi3: its rotary frequencies change beyond 96 tokens, and a text has 97"):
        packed_logits(decoder, [long])
    _said.clear()
    assert fast_decoder(model, 97) is None
    assert "change beyond 96 tokens" in caplog.text
    for length, name in ((96, "native"), (97, "transformers")):
        fresh = small_model(BY_NAME["phi3 longrope"])
        assert make_engine("auto", fresh, fresh.config, length=length).name == name
    plain_logits(model, long)  # transformers keeps the frequencies of the long text until the next one
    assert distance(packed_logits(Decoder(model), [short]), [plain_logits(model, short)]) < 1e-5


# Models that are not what their configuration says.


@one_row_each
def test_a_model_with_another_forward_pass_is_left_to_transformers(
    family: Family, caplog: pytest.LogCaptureFixture
) -> None:
    model = small_model(family)
    plain = model.forward

    def scaled(*arguments: Any, **options: Any) -> Any:
        output = plain(*arguments, **options)
        output.logits = output.logits * 1.5
        return output

    model.forward = scaled
    with caplog.at_level(logging.INFO):
        assert fast_decoder(model) is None
    assert "other logits than its config says" in caplog.text


def test_a_head_that_is_not_the_embedding_though_the_configuration_says_so(tmp_path: Path) -> None:
    """transformers takes the head that the files hold."""
    untied = small_model(BY_NAME["qwen2 tied"], tie_word_embeddings=False)
    untied.save_pretrained(tmp_path)
    whole = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**whole, "tie_word_embeddings": True}))
    model = load_model(tmp_path, dtype="float32", device="cpu")
    (row,) = draw_rows([9])
    expected = plain_logits(untied, row)
    assert distance([plain_logits(model, row)], [expected]) < 1e-6
    assert distance(packed_logits(fast_decoder(model), [row]), [expected]) < 1e-5


@pytest.mark.parametrize("name", ["mistral", "qwen2", "gemma2", "gemma2 uncapped", "gemma3_text", "smollm3"])
def test_windows_and_caps_over_several_parts_of_a_sequence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention takes a few queries, and a few trees, at a time; sequences of real lengths have several parts."""
    monkeypatch.setattr(packed_attention, "QUERIES", 5)
    monkeypatch.setattr(packed_attention, "CACHE_ELEMENTS", 1)
    test_logits_are_those_of_transformers_to_ten_digits(BY_NAME[name])
    test_trees_of_choices_score_as_plain_sequences_do(BY_NAME[name], 20)


# Broken configurations. None may give other logits than transformers' without a word.

OF_OTHERS = {  # keys that mean something to another family, and nothing to those that do not declare them
    "hidden_act": "gelu",
    "hidden_activation": "relu",
    "attn_logit_softcapping": 1.0,
    "final_logit_softcapping": 1.0,
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.5,
    "attention_multiplier": 3.0,
    "logits_scaling": 2.0,
    "query_pre_attn_scalar": 3,
    "clip_qkv": 0.1,
    "no_rope_layers": [0] * 4,
    "norm_topk_prob": True,
    "mlp_only_layers": [0, 1, 2],
    "mlp_bias": True,
    "use_sliding_window": True,
    "max_window_layers": 0,
    "sliding_window_pattern": 2,
    "rope_local_base_freq": 3.0,
    "attention_chunk_size": 3,
}
EXTRA: tuple[dict[str, Any], ...] = (
    {"nonsense": 1},
    OF_OTHERS,
    {"is_causal": False},
    {"per_layer_config": {"0": {"num_key_value_heads": 1}}},
    {"sliding_window": 3},
    {"layer_types": [FULL]},
    {"head_dim": 16},
    {"head_dim": None},
    {"attention_bias": True},
    {"partial_rotary_factor": 0.5},
    {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    {"rope_scaling": {"type": "dynamic", "factor": 4.0}},
    {"rope_theta": 7.0},
    {"use_bidirectional_attention": True},
    {"quantization_config": {"quant_method": "gptq", "bits": 4}},
)
# What training, generation and pipelines read: one wrong value of each is enough.
INERT = (
    "attention_dropout", "bos_token_id", "embd_pdrop", "eos_token_id", "initializer_range", "output_router_logits",
    "pad_token_id", "pretraining_tp", "resid_pdrop", "router_aux_loss_coef", "router_jitter_noise", "use_cache",
)  # fmt: skip
TOO_MUCH: dict[str, list[Any]] = {"num_experts_per_tok": [99], "num_key_value_heads": [3], "rms_norm_eps": [1e30]}
OF_A_FILE = ("model_type", "transformers_version", "architectures", "dtype", "torch_dtype", "_name_or_path")
# Of keys inside rope_parameters: the types of frequencies that transformers knows.
ROPE_TYPES = ("linear", "dynamic", "yarn", "longrope", "llama3", "proportional", "axial")


def wrong_values(value: Any) -> list[Any]:
    """Values that a key cannot have, or that no model has: of another type, negative, zero, none, unknown."""
    if isinstance(value, bool):
        return [not value, "x"]
    if isinstance(value, int):
        return [-1, 0, "x"]
    if isinstance(value, float):
        return [-1.0, 0.0, 0.5, "x"]
    if isinstance(value, str):
        return ["unknown", "relu", 3]
    if isinstance(value, list):
        return [[], value[:-1], [*value, value[-1]] if value else [0], ["x"] * len(value), value[::-1]]
    return [7, 0.25, True, "x", []]


def wrong_frequencies(rope: dict[str, Any], thorough: bool) -> Iterator[dict[str, Any]]:
    """Rotary parameters with one key wrong, also one level down."""
    for key, value in rope.items():
        if isinstance(value, dict):
            yield from ({**rope, key: inner} for inner in wrong_frequencies(value, thorough))
        elif key == "rope_type":
            yield from ({**rope, key: wrong, "factor": 2.0} for wrong in ("unknown", *ROPE_TYPES))
            yield from ({**rope, key: wrong} for wrong in (3, *ROPE_TYPES) if thorough)
        else:
            yield from ({**rope, key: wrong} for wrong in wrong_values(value)[: 3 if thorough else 1])
        yield {name: other for name, other in rope.items() if name != key}
    yield {**rope, "nonsense": 1}
    yield {**rope, "partial_rotary_factor": 0.25}


def wrong_configs(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A configuration with one key wrong."""
    for key, value in whole.items():
        if key == "rope_parameters" and value:
            thorough = whole["model_type"] in ("llama", "gemma3_text", "phi3")  # the others read them as a llama does
            yield from ({**whole, key: rope} for rope in wrong_frequencies(value, thorough))
        elif key not in OF_A_FILE:
            wrong = [*wrong_values(value), *TOO_MUCH.get(key, [])]
            yield from ({**whole, key: each} for each in (wrong[:1] if key in INERT else wrong))
    for extra in EXTRA:
        if new := {key: value for key, value in extra.items() if key not in whole}:
            yield {**whole, **new}


def write_model(family: Family, folder: Path) -> dict[str, Any]:
    """A small model in a folder; what its config.json says."""
    small_model(family).save_pretrained(folder)
    whole: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return whole


def one_line(error: InputError) -> bool:
    return "\n" not in str(error) and len(str(error)) > 20


def load_quickly(config: Any, weights: dict[str, Tensor]) -> Any:
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(weights)
    model.tie_weights()
    return model.eval().requires_grad_(False)


def verdict(load: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> str:
    """`refused`, `left` (to transformers, with a reason), `equal` logits; anything else is what is wrong."""
    caplog.clear()
    _said.clear()  # a line is said once in a process
    try:
        model = load()
        decoder = fast_decoder(model)
    except InputError as error:
        return "refused" if one_line(error) else f"refused in several lines: {error}"
    except Exception as error:  # what a user would see as a traceback
        return f"{type(error).__name__}: {error}"
    if decoder is None:
        return "left" if caplog.text.strip() else "left to transformers without a word"
    (row,) = draw_rows([2 * WINDOW])
    try:
        expected = plain_logits(model, row)
    except Exception as error:
        return f"transformers gives no logits ({type(error).__name__}), the decoder does"
    try:
        (found,) = packed_logits(decoder, [row])
    except Exception as error:
        return f"transformers gives logits, the decoder {type(error).__name__}: {error}"
    # Not a number where transformers' are none, as with a cap of 0.
    largest = float(expected.nan_to_num(0.0, 0.0, 0.0).abs().max())
    equal = torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * largest, equal_nan=True)
    return "equal" if equal else f"other logits, by {float((found - expected).abs().max()):.2g} of {largest:.2g}"


@one_row_each
def test_nonsense_in_a_configuration_never_changes_logits_silently(
    family: Family, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each key wrong in some ways; keys that belong to other families or to none."""
    whole = write_model(family, tmp_path)
    right, weights = load_config(tmp_path).to_dict(), small_model(family).state_dict()
    caplog.set_level(logging.INFO)
    found: dict[str, list[str]] = {"refused": [], "left": [], "equal": []}
    wrong = []
    for raw in wrong_configs(whole):
        (tmp_path / "config.json").write_text(json.dumps(raw))
        what = ", ".join(f"{k} {v!r}" for k, v in raw.items() if k not in whole or whole[k] != v)
        try:
            config = load_config(tmp_path)
        except InputError as error:  # most are, and no weights need be read for it
            said = "refused" if one_line(error) else str(error)
        else:
            if config.to_dict() == right:
                continue
            said = verdict(lambda config=config: load_quickly(config, weights), caplog)
            if said not in found:  # what cannot be built so, or should not be: as a user does it
                said = verdict(lambda: load_model(tmp_path, dtype="float32", device="cpu"), caplog)
        if said in found:
            found[said].append(what)
        else:
            wrong.append(f"{what}: {said}")
    assert wrong == [], "\n".join(wrong)
    assert found["refused"]
    assert found["equal"]  # such as initializer_range


# Checkpoints under another family's name: most lack weights; of the others transformers makes what it can.
MISNAMED = (
    ("qwen3", "qwen2"), ("qwen3", "llama"), ("qwen3", "mistral"), ("qwen2", "llama"), ("qwen2", "qwen3"),
    ("llama", "qwen2"), ("llama", "mistral"), ("llama", "granite"), ("llama", "smollm3"), ("llama", "olmo2"),
    ("mistral", "llama"), ("granite", "llama"), ("smollm3", "llama"), ("olmo2", "llama"), ("olmo2", "gemma2"),
    ("gemma2", "gemma3_text"), ("gemma3_text", "gemma2"), ("gemma2", "llama"), ("phi3", "llama"), ("llama", "phi3"),
    ("mixtral", "qwen3_moe"), ("qwen3_moe", "olmoe"), ("olmoe", "qwen3_moe"), ("olmoe", "mixtral"),
    ("qwen3_moe", "qwen3"), ("llama", "openlm"), ("openlm", "llama"),
)  # fmt: skip


@pytest.mark.parametrize(("weights", "named"), MISNAMED, ids=["-as-".join(pair) for pair in MISNAMED])
def test_a_checkpoint_under_the_name_of_another_family(
    weights: str, named: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused, or transformers' own logits; weights that are left over are told of."""
    first = {family.model_type: family for family in FIRST}
    whole = write_model(first[weights], tmp_path)
    wrong = {**whole, "model_type": named, "architectures": [type(small_model(first[named])).__name__]}
    (tmp_path / "config.json").write_text(json.dumps(wrong))
    caplog.set_level(logging.INFO)
    said = verdict(lambda: load_model(tmp_path, dtype="float32", device="cpu"), caplog)
    assert said in ("refused", "left", "equal")
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        stored = set(file.keys())
    if said != "refused" and stored - set(load_model(tmp_path, device="cpu").state_dict()):
        assert "weights of the files are not used" in caplog.text
