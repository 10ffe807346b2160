"""What an answer says and gives to copy at a width: words, flags, and code of other tools."""

import shlex
from typing import Any

import pytest

from calibrant.reporting.pages.answer_snippets import snippets
from calibrant.reporting.pages.answer_terms import target_words
from calibrant.settings.stage_settings import PruneSettings


def facts(method: str, target: str, **options: str) -> dict[str, Any]:
    chosen = {"options": {key.replace("__", "."): value for key, value in options.items()}}
    sizes = {"samples": 8, "length": 512, "dtype": "float32"}
    return {"method": method, "target": target, "model": "m", "model_place": "data/model", "chosen": chosen, **sizes}


@pytest.mark.parametrize(
    ("method", "target", "words"),
    [
        ("wanda", "0.6", "60 % of the weights removed"),
        ("gptq", "w4g64", "4 bits a weight in groups of 64"),
        ("wrtn", "w3", "3 bits a weight in one group a row"),
        ("sparsegpt", "2:4+w4g64", "2 of every 4 weights kept and 4 bits a weight in groups of 64"),
    ],
)
def test_words_and_flags_of_a_target(method: str, target: str, words: str) -> None:
    assert target_words(facts(method, target)).endswith(f", {words}")
    (_, command), _, _ = snippets(facts(method, target))
    typed = shlex.split(command.rpartition("calibrant prune")[2].replace("\\\n", " "))
    given = {flag[2:]: value for flag, value in zip(typed[::2], typed[1::2], strict=True)}
    width = {name: int(given[name]) for name in ("bits", "group") if name in given}
    asked = PruneSettings(method=given["method"], sparsity=given.get("sparsity"), **width)
    assert (asked.method, str(asked.target)) == (method, target)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            facts("gptq", "w4g64", gptq__damping="0.1"),
            ["GPTQModifier(", "num_bits=4", "group_size=64", "symmetric=False", "dampening_frac=0.1", "actorder=None"],
        ),
        (
            facts("gptq", "w3", symmetric="true", gptq__act_order="true"),
            [
                "num_bits=3",
                'strategy="channel"',
                "symmetric=True",
                'actorder="static"',
                "gptq.static_groups=true alone",
            ],
        ),
        (facts("awq", "w4g64"), ["AWQModifier(n_grid=20)", "QuantizationModifier(", "needs a GPU"]),
        (
            facts("sparsegpt", "2:4+w4g64"),
            ["SparseGPTModifier(", "GPTQModifier(", 'mask_structure="2:4"', "prunes first and then quantizes"],
        ),
    ],
)
def test_llm_compressor_is_given_the_width_and_the_options(found: dict[str, Any], expected: list[str]) -> None:
    _, (tool, code), _ = snippets(found)
    assert tool == "llm-compressor"
    compile(code, "snippet", "exec")
    assert [each for each in expected if each not in code] == []


@pytest.mark.parametrize(("target", "kind"), [("w2g64", "Q2_K"), ("w4", "Q4_K_M"), ("w8", "Q8_0")])
def test_weighted_rounding_is_llama_cpps_with_an_importance_matrix_of_the_set(target: str, kind: str) -> None:
    _, (tool, code), _ = snippets(facts("wrtn", target))
    assert tool == "llama.cpp"
    assert "calibrant export --format imatrix --model data/model --calibration set.parquet" in code
    assert code.endswith(f"model-{kind}.gguf {kind}")
