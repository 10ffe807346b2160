"""What the index says that a text's perplexity is of follows every setting that changes the number."""

from typing import Any

import pytest

from calibrant.study.config import resolve_config
from calibrant.study.report_index import study_index
from calibrant.study.text_definition import text_definition

ALPACA = {"hub": "tatsu-lab/alpaca", "text_key": "text"}


def said(name: str = "alpaca", preset: str = "dclm-7b", **changes: Any) -> str:
    return text_definition(resolve_config({"preset": preset, "experiment": "sources", **changes}), name)


def test_the_papers_text_and_the_authors() -> None:
    whole = "windows of 2,048 tokens of the documents joined, each rendered with the Alpaca template"
    assert said() == whole
    assert said(evaluation={"text_tokens": 50000}) == f"{whole}; the first 50,000 tokens"
    assert said(compat="authors") == (
        "mean of the perplexities of single documents, windows of 2,048 tokens of each alone and rendered with the "
        "Alpaca template; the first 10,000 documents"
    )


def test_a_text_of_files_is_not_said_to_have_a_template() -> None:
    mine = {"mine": {"files": ["a.jsonl"], "max_characters": 30000}}
    assert said("mine", texts=mine, evaluation={"length": 512}) == (
        "windows of 512 tokens of the documents joined; documents until they hold 30,000 characters"
    )
    other = {"mine": {"hub": "tatsu-lab/alpaca", "text_key": "output"}}
    assert "template" not in said("mine", texts=other)


def test_what_windows_begin_with_where_that_does_not_follow_the_tokenizer() -> None:
    assert said(preset="llama-2-7b").endswith("Alpaca template; without a beginning-of-text token")
    assert said(evaluation={"bos": "always"}).endswith("; with a beginning-of-text token at the head")


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluation": {"length": 1024}},
        {"evaluation": {"text_tokens": 7}},
        {"evaluation": {"text_average": "document"}},
        {"evaluation": {"text_average": "document", "text_tokens": 7}},
        {"evaluation": {"bos": "never"}},
        {"texts": {"alpaca": {**ALPACA, "max_documents": 5}}},
        {"texts": {"alpaca": {**ALPACA, "max_characters": 5}}},
        {"texts": {"alpaca": {**ALPACA, "text_key": "output"}}},
    ],
)
def test_every_setting_that_changes_the_number_changes_the_words(changes: dict[str, Any]) -> None:
    assert said(**changes) != said()


@pytest.mark.parametrize("preset", ["dclm-7b", "smollm2-135m", "tiny"])
def test_the_index_has_every_text_behind_the_tasks_with_its_definition(preset: str) -> None:
    config = resolve_config({"preset": preset, "experiment": "sources"})
    index = study_index(config, {"id": "m"})
    entries = index["study"]["tasks"]
    assert [entry["name"] for entry in entries] == [*config["tasks"], *config["texts"]]
    assert {e["name"]: e["definition"] for e in entries if "definition" in e} == {
        name: text_definition(config, name) for name in config["texts"]
    }
