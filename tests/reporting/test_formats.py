"""Files of several number formats in one study are named on its page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calibrant.artefacts.provenance import write_described
from calibrant.reporting.pages.render import every_block
from calibrant.reporting.pages.sections import Statements
from calibrant.reporting.pages.summarize import summarize
from calibrant.reporting.results.index import read_index


@pytest.mark.parametrize(("others", "said"), [("float32", False), ("bfloat16", True)])
def test_a_mixture_of_formats_is_named(make_study: Callable[..., Any], tmp_path: Path, others: str, said: bool) -> None:
    study = make_study(seeds=1, sparsities=("0.6",))
    index = read_index(study.write())
    for number, run in enumerate(index.runs):
        record = {"settings": {"dtype": others if number == 3 else "float32"}}
        write_described(run.evaluation, json.loads(Path(run.evaluation).read_text()), record)
    page = summarize(index, tmp_path / "report")
    sentence = f"{len(index.runs) - 1} evaluations in float32" if said else "several number formats"
    (limits,) = every_block([section for section in page.sections if section.anchor == "limitations"])
    assert isinstance(limits, Statements)
    assert any(sentence in limit.text for limit in limits.statements) == said
    assert ("1 evaluations in bfloat16" in (tmp_path / "report" / "summary.md").read_text()) == said
