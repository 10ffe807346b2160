"""What users call their sources, tasks and studies is text: in figures no formula, in pages no markup, never long."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrant.cli.main import main
from calibrant.reporting.results.readable import LONGEST_LABEL, readable, short_label

HOSTILE = '$5 --><script>alert("x")</script> $10 {\\frac | & \x00\n\x1b[31m\u202e \ud83d #1d1f21 _^'


@given(st.text(st.characters(), max_size=200) | st.text("$\\_^{}<>&|\x00\n\r\t\ud800", max_size=90))
def test_a_label_is_one_short_line_that_xml_can_hold(text: str) -> None:
    label = short_label(text)
    assert len(label) <= LONGEST_LABEL
    assert len(label.splitlines()) <= 1
    element = ElementTree.Element("text")
    element.text = label
    assert (ElementTree.fromstring(ElementTree.tostring(element, "utf-8")).text or "") == label
    assert short_label(label) == label
    readable(text).encode()


def test_hostile_names_reach_no_figure_and_no_page(
    make_study: Callable[..., Any], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    study = make_study(sources=("web", "news"), sparsities=("0.6",))
    index = study.index()
    index["study"] |= {
        "title": HOSTILE,
        "question": HOSTILE,
        "notes": [HOSTILE],
        "limitations": [HOSTILE],
        "settings": [{"name": HOSTILE, "value": HOSTILE}],
        "sources": [{"name": "web", "label": HOSTILE}, {"name": "news", "label": "中$" * 10_000}],
        "tasks": [{"name": "piqa", "label": f"{HOSTILE} task"}],
        "model": {"id": HOSTILE, "note": HOSTILE, "licence": HOSTILE},
    }
    path = tmp_path / "index.json"
    path.write_text(json.dumps(index))
    assert main(["summarize", "--results", str(path), "--output", str(tmp_path / "out")]) == 0
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    figures = sorted((tmp_path / "out" / "figures").glob("*.svg"))
    texts = ["".join(ElementTree.parse(file).getroot().itertext()) for file in figures]
    assert any('$5 --><script>alert("x")</script>' in text for text in texts)
    assert any("中$中$" in text and "…" in text for text in texts)
    for table in (tmp_path / "out" / "tables").glob("*.md"):
        assert "\x00" not in table.read_text(encoding="utf-8")
