"""What every engine promises, vLLM included where it is installed; and how settings are put to vLLM.

Run on a machine with a GPU and vLLM: pytest tests/generation/test_contract.py
"""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from calibrant.errors import InputError
from calibrant.generation.engine import Engine
from calibrant.generation.engines.engine_choice import make_engine
from calibrant.generation.engines.vllm_engine import NEVER, VllmEngine, installed, sampling
from calibrant.generation.generated_rows import Generated, Prompt, Vocabulary
from calibrant.models.checkpoint.checkpoint_config import load_config
from calibrant.models.checkpoint.loading import load_model
from calibrant.settings.text_settings import DecodingSettings

VOCABULARY = Vocabulary((0, 1, 2), 390)  # of the tiny model's 400 ids, the last are taken for padding
LENGTH = 24
needs_vllm = pytest.mark.skipif(not installed(), reason="vllm is not installed: its engine was not run")


@pytest.fixture(scope="module", params=["native", "transformers", pytest.param("vllm", marks=needs_vllm)])
def engine(request: pytest.FixtureRequest, tiny_model_dir: Path) -> Engine:
    config = load_config(tiny_model_dir)
    if request.param == "vllm":
        return VllmEngine(tiny_model_dir, config, "float32", LENGTH)
    return make_engine(request.param, load_model(tiny_model_dir, dtype="float32"), config)


def prompts(count: int, total: int = LENGTH, seed: int = 2**62) -> list[Prompt]:
    return [Prompt(i, (5 + i % 300, 6, 7), total, seed + i, "d", 3) for i in range(count)]


def write(engine: Engine, rows: list[Prompt], batch_size: int = 8, **options: Any) -> list[Generated]:
    drawn: list[int] = []
    written = engine.generate(rows, DecodingSettings(**options), VOCABULARY, batch_size, drawn.append)
    found = sorted(written, key=lambda row: row.sample_id)
    ended = sum(row.finish_reason == "end_of_text" for row in found)
    assert sum(drawn) == sum(len(row.ids) - 3 for row in found) + ended
    return found


def test_suppressed_rows_are_full(engine: Engine) -> None:
    rows = write(engine, prompts(11), temperature=5.0, top_k=0, top_p=1.0)
    assert [row.sample_id for row in rows] == list(range(11))
    for row, prompt in zip(rows, prompts(11), strict=True):
        assert row.ids[:3] == prompt.prefix
        assert len(row.ids) == LENGTH
        assert row.finish_reason == "length"
        assert not {0, 1, 2} & set(row.ids[3:])
        assert max(row.ids[3:]) < VOCABULARY.size
    assert len({row.ids[3:] for row in rows}) == 11


def test_stopped_rows_end_where_a_special_token_is_drawn(engine: Engine) -> None:
    options = {"temperature": 9.0, "top_k": 0, "top_p": 1.0, "end_of_text": "stop"}
    rows = write(engine, prompts(400), 64, **options)  # three of 390 ids are special: some rows would end at once
    assert {row.finish_reason for row in rows} == {"length", "end_of_text"}
    for row in rows:
        assert not {0, 1, 2} & set(row.ids[3:])
        assert len(row.ids) > 3
        assert (len(row.ids) == LENGTH) == (row.finish_reason == "length")
        assert row.first_end == (len(row.ids) if row.finish_reason == "end_of_text" else None)
    assert engine.knows_ends(DecodingSettings(end_of_text="stop"))


def test_a_rows_seed_decides_it(engine: Engine) -> None:
    first, again = write(engine, prompts(8)), write(engine, prompts(8))
    assert first == again
    other = write(engine, prompts(8, seed=1))
    assert all(a.ids != b.ids for a, b in zip(first, other, strict=True))


def test_tokens_follow_the_models_distribution(engine: Engine, tiny_model_dir: Path) -> None:
    """The second new token of many rows with one prefix, given the most frequent first one, against transformers'."""
    chosen = DecodingSettings(top_k=20, top_p=0.9, temperature=0.8, repetition_penalty=1.2)
    rows = [Prompt(i, (5, 6, 7), 5, 77 + i, "d", 3) for i in range(3000)]
    written = list(engine.generate(rows, chosen, VOCABULARY, 500, lambda count: None))
    model = load_model(tiny_model_dir, dtype="float32")
    processors = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(1.2),
            SuppressTokensLogitsProcessor([0, 1, 2, *range(390, 400)], device="cpu"),
            TemperatureLogitsWarper(0.8),
            TopKLogitsWarper(20),
            TopPLogitsWarper(0.9),
        ]
    )
    first = np.array([row.ids[3] for row in written])
    best = int(np.bincount(first).argmax())
    second = np.array([row.ids[4] for row in written if row.ids[3] == best])
    for prefix, drawn in (([5, 6, 7], first), ([5, 6, 7, best], second)):
        ids = torch.tensor([prefix])
        with torch.inference_mode():
            p = torch.softmax(processors(ids, model(ids).logits[:, -1]), -1)[0].double().numpy()
        counts = np.bincount(drawn, minlength=len(p))
        assert counts[p == 0].sum() == 0
        assert len(drawn) > 100
        often = p * len(drawn) >= 5  # the rest together: the test's approximation needs five expected a cell
        cells = [*(np.flatnonzero(often)[:, None]), np.flatnonzero(~often & (p > 0))]
        expected = np.array([p[cell].sum() for cell in cells if len(cell)])
        found = np.array([counts[cell].sum() for cell in cells if len(cell)])
        assert chisquare(found, len(drawn) * expected / expected.sum()).pvalue > 1e-4


class FakeLLM:
    """Stands where vLLM is not: keeps what it was given, and answers with ids that the test chose."""

    made: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[list[tuple[Any, Any]]] = []
    answer: ClassVar[Callable[[int, int], list[int]]]

    def __init__(self, **options: Any) -> None:
        FakeLLM.made.append(options)

    def generate(self, inputs: list[Any], sampling_params: list[Any], use_tqdm: bool) -> list[Any]:
        FakeLLM.asked += list(zip(inputs, sampling_params, strict=True))
        outputs = [FakeLLM.answer(i, p.max_tokens) for i, p in enumerate(sampling_params)]
        return [types.SimpleNamespace(outputs=[types.SimpleNamespace(token_ids=ids)]) for ids in outputs]


def test_how_settings_are_put_to_vllm(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeLLM.made, FakeLLM.asked = [], []
    module = types.SimpleNamespace(LLM=FakeLLM, SamplingParams=lambda **given: types.SimpleNamespace(**given))
    monkeypatch.setitem(sys.modules, "vllm", module)
    engine = VllmEngine(tiny_model_dir, load_config(tiny_model_dir), "bfloat16", LENGTH, tensor_parallel=2, seed=9)
    FakeLLM.answer = lambda row, most: [50 + row] * most
    rows = write(engine, prompts(3))
    assert [row.ids for row in rows] == [(5 + i, 6, 7, *[50 + i] * (LENGTH - 3)) for i in range(3)]
    assert all((row.finish_reason, row.first_end) == ("length", None) for row in rows)
    assert not engine.knows_ends(DecodingSettings())
    FakeLLM.answer = lambda row, most: [60, 61, 2] if row else [60] * most
    full, ended = write(engine, prompts(2), end_of_text="stop")
    assert (len(full.ids), full.finish_reason) == (LENGTH, "length")
    assert (ended.ids, ended.finish_reason, ended.first_end) == ((6, 6, 7, 60, 61), "end_of_text", 5)
    [made] = FakeLLM.made
    wanted = {"tensor_parallel_size": 2, "max_num_seqs": 8, "max_model_len": LENGTH, "dtype": "bfloat16", "seed": 9}
    assert made | wanted == made
    assert made["trust_remote_code"] is False
    given, parameters = FakeLLM.asked[1]
    assert given == {"prompt_token_ids": [6, 6, 7]}
    assert (parameters.seed, parameters.max_tokens, parameters.ignore_eos) == (2**62 + 1, LENGTH - 3, True)
    assert parameters.logit_bias == dict.fromkeys([*range(390, 400), 0, 1, 2], NEVER)
    assert (parameters.stop_token_ids, parameters.min_tokens, parameters.detokenize) == (None, 1, False)
    assert FakeLLM.asked[-1][1].stop_token_ids == [0, 1, 2]
    assert set(FakeLLM.asked[-1][1].logit_bias) == set(range(390, 400))
    FakeLLM.answer = lambda row, most: [60]
    with pytest.raises(RuntimeError, match="ended row 0 at 4 of 24 tokens"):
        write(engine, prompts(1))


def test_more_ids_than_vllm_leaves_out() -> None:
    with pytest.raises(InputError, match="1,100 ids must never be drawn"):
        sampling(DecodingSettings(), Vocabulary((), 900), 2000)
    assert sampling(DecodingSettings(top_k=0), Vocabulary((), 400), 400)["top_k"] == -1
