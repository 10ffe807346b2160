"""How calibration texts reach a model's experts: the tables of a study's page, from what its masks record."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from artefact_files import write_small_masks
from page_check import check, check_markdown

from calibrant.reporting.pages.summarize import summarize
from calibrant.reporting.results.expert_counts import read_expert_counts
from calibrant.reporting.results.index import parse_index

COLUMNS = 10
TOKENS = {("web", 0): [0, 4, 10, 30], ("web", 1): [2, 6, 12, 40], ("news", 0): [0, 0, 9, 99], ("news", 1): [50] * 4}


def with_experts(fake: Any) -> dict[str, Any]:
    """The study's index, its masks with counts: in the second layer every expert gets the layer's number more."""
    for run in fake.runs:
        if run["source"] is not None:
            layers = [
                {
                    "name": f"model.layers.{layer}", "pattern": "0.5",
                    "requested_sparsity": 0.5, "achieved_sparsity": 0.5,
                    "experts": {"mlp.experts": {
                        "tokens": [n + layer for n in TOKENS[run["source"], run["seed"]]], "columns": COLUMNS,
                    }},
                }
                for layer in range(2)
            ]  # fmt: skip
            write_small_masks(Path(run["masks"]), 0.5, method="wanda", layers=layers)
    index: dict[str, Any] = fake.index()
    return index


@pytest.fixture
def fake(make_study: Callable[..., Any]) -> Any:
    return make_study(sources=("web", "news"), origins=("real",), sparsities=("0.5",))


def test_each_text_has_means_over_its_sets(fake: Any, tmp_path: Path) -> None:
    summarize(parse_index(with_experts(fake)), tmp_path / "page")
    whole = (tmp_path / "page" / "tables" / "experts.md").read_text(encoding="utf-8")
    check_markdown(whole)
    web, news = (next(line for line in whole.splitlines() if line.startswith(f"| {n}")) for n in ("Web", "News"))
    # two sets of web: least 0 and 2; medians of 8: 7.5 and 9.5; unreached 1 of 8 and none; under 10 tokens 4, then 4
    assert [cell.strip() for cell in web.split("|")[2:-1]] == [
        "2", "1.0 ± 1.4", "8.5 ± 1.4", "6.2 ± 8.8", "50.0 ± 0.0",
    ]  # fmt: skip
    assert [cell.strip() for cell in news.split("|")[2:-1]] == [
        "2", "25.0 ± 35.4", "27.8 ± 32.2", "12.5 ± 17.7", "31.2 ± 44.2",
    ]  # fmt: skip
    assert "8 experts in 2 decoder layers, counted for Wanda, 50 %." in whole
    layers = (tmp_path / "page" / "tables" / "experts_by_layer.md").read_text(encoding="utf-8")
    check_markdown(layers)
    second = [line for line in layers.splitlines() if line.startswith("| model.layers.1")]
    assert [cell.strip() for cell in second[0].split("|")[2:5]] == ["2", "2.0 ± 1.4", "9.0 ± 1.4"]
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    check(page)
    assert page.index('id="inside"') < page.index("Tokens that reach an expert") < page.index('id="browser"')


def test_a_model_without_experts_has_no_such_table(fake: Any, tmp_path: Path) -> None:
    page = summarize(parse_index(fake.index()), tmp_path / "page")
    assert not any(block for section in page.sections if section.anchor == "inside" for block in section.blocks[2:])
    assert "reach an expert" not in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")


def test_a_set_is_counted_once(fake: Any) -> None:
    index = parse_index(with_experts(fake))
    assert len(read_expert_counts(index.runs)) == 4
    assert len(read_expert_counts([*index.runs, *index.runs])) == 4
