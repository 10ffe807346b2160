"""The page of a study: what was found first, what was not tested last; its words, its Markdown and its markup."""

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from page_check import check, check_markdown

from calibrant.calibration.sample_set import write_samples
from calibrant.reporting.inference.limits import limitations, shared_note
from calibrant.reporting.pages.inputs import Inputs, read_inputs
from calibrant.reporting.pages.render import every_block
from calibrant.reporting.pages.sections import FigurePlace, Folded, Page, Statements, TablePlace
from calibrant.reporting.pages.summarize import summarize
from calibrant.reporting.results.index import parse_index
from calibrant.reporting.tables.result_tables import items_table, performance_tables

DEFINITION = "per token of tales, windows of 16 tokens, documents joined by a blank line"


class Written(NamedTuple):
    page: Page
    folder: Path

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def written(varied_study: Any, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("page")
    raw = varied_study.index()
    raw["study"]["tasks"].append({"name": "fiction", "definition": DEFINITION})
    return Written(summarize(parse_index(raw), folder), folder)


def test_the_page_starts_with_what_was_found(written: Written) -> None:
    found = written.page.found
    assert 1 <= len(found) <= 3
    markup, summary = written.text("index.html"), written.text("summary.md")
    assert markup.count('<p class="lede">') == len(found)
    for statement in found:
        assert statement.text in summary
    last = max(summary.index(statement.text) for statement in found)
    assert last < summary.index("\n![") < summary.index("\n| ")
    assert markup.rindex('<p class="lede">') < markup.index("<svg") < markup.index("<table")
    assert isinstance(written.page.sections[0].blocks[0], FigurePlace)


def test_what_was_found_says_how_sure_it_is(written: Written) -> None:
    """A difference stands with its unit and interval, and a side is named only with p < 0.05."""
    first = written.page.found[0]
    assert re.search(r"[+−]\d+\.\d+ (points|% of perplexity) \(95 % interval [+−]\d", first.hedge)
    p = re.search(r"p [=<>] ([0-9.]+)", first.hedge)
    assert p is not None
    assert ("do not settle" in first.text) == (float(p[1]) >= 0.05)


def test_conclusions_that_were_not_tested_are_folded_at_the_end(written: Written) -> None:
    sections = [section for section in written.page.sections if section.blocks]
    assert sections[-1].anchor == "untested"
    (folded,) = sections[-1].blocks
    assert isinstance(folded, Folded)
    (block,) = folded.blocks
    assert isinstance(block, Statements)
    reasons = [statement.text for statement in block.statements]
    assert any(
        text.startswith("Self-generated text beats real training data (section 5.2): no source") for text in reasons
    )
    claims = next(b for s in sections if s.anchor == "claims" for b in s.blocks if isinstance(b, TablePlace)).table
    shown = [row.label for section in claims.sections for row in section.rows if row.cells[0] is not None]
    assert len(shown) + len(reasons) == 25
    assert not any(text.startswith(f"{label} (section") for text in reasons for label in shown)
    markup = written.text("index.html")
    assert markup.index("<details>\n<summary>", markup.index('<section id="untested">')) > markup.index(
        'id="provenance"'
    )
    assert "Not tested" not in written.text("tables/claims.md")


def test_each_question_has_one_p_value_on_the_page(written: Written) -> None:
    """The gain at 60 % is a conclusion of the paper: the study's own comparisons do not repeat it."""
    claims = written.text("tables/claims.csv")
    assert "Self-generated text beats real text on average" in claims
    assert not re.search(r"beats real text at 60 %, in mean accuracy", claims)
    assert re.search(r"beats real text at 50 %, in mean accuracy", claims)


def test_the_definition_of_a_text_stands_in_a_caption(written: Written, varied_study: Any) -> None:
    assert f"Fiction: {DEFINITION}." in written.text("summary.md")
    assert f"Fiction: {DEFINITION}." in written.text("tables/items.md")
    plain = read_inputs(parse_index(varied_study.index()))
    assert "Fiction:" not in items_table(plain.data)[0].caption


def test_the_summary_is_proper_markdown(written: Written) -> None:
    check_markdown(written.text("summary.md"))
    for path in (written.folder / "tables").glob("*.md"):
        check_markdown(path.read_text(encoding="utf-8"))


def test_the_page_is_well_formed_and_holds_all_that_it_shows(written: Written) -> None:
    markup = written.text("index.html")
    checker = check(markup)
    assert not checker.tags & {"script", "link", "img", "iframe", "object", "embed"}
    assert not re.search(r"url\((?!#)|@import|\son\w+=", markup)
    assert "https://" not in markup
    drawn = {b.name for b in every_block(written.page.sections) if isinstance(b, FigurePlace)} - {"layers", "overlap"}
    assert markup.count("<svg") == len(drawn) == 7


def test_no_caption_has_loose_ends(written: Written) -> None:
    """Sentences end, brackets close, and no number is missing."""
    captions = [b.table.caption for b in every_block(written.page.sections) if isinstance(b, TablePlace)]
    captions += re.findall(r"^\*\*[^*]+\.\*\* (.*?) Its numbers:", written.text("summary.md"), re.MULTILINE)
    assert len(captions) > 12
    for caption in captions:
        assert caption.endswith((".", ")"))
        assert caption.count("(") == caption.count(")")
        assert not re.search(r"nan|None|inf\b|  | ,|\.\.", caption), caption


def with_sets(study: Any, shared: int) -> Inputs:
    """Two sets of eight rows of one real text, of which so many are the same."""
    raw = study.index()
    for seed in range(2):
        path = study.folder / f"set-{shared}-{seed}.parquet"
        numbers = [row if row < shared else 100 * (seed + 1) + row for row in range(8)]
        columns = {
            "sample_id": list(range(8)), "input_ids": [[n] * 16 for n in numbers], "text": [str(n) for n in numbers],
            "source": ["web"] * 8, "origin": ["real"] * 8, "doc_ids": [[str(n)] for n in numbers],
            "prefix_length": [0] * 8, "perplexity": pa.array([None] * 8, pa.float32()),
        }  # fmt: skip
        write_samples(path, pa.table(columns), {"model": "m", "model_sha256": "ef" * 32, "tokenizer_sha256": "01" * 32})
        for run in raw["runs"]:
            if (run["source"], run["origin"], run["samples"], run["seed"]) == ("web", "real", 16, seed):
                run["calibration"] = str(path)
    return read_inputs(parse_index(raw))


def test_a_note_of_shared_rows_stands_beside_spreads_where_sets_overlap(varied_study: Any) -> None:
    data = with_sets(varied_study, 2).data
    assert list(data.shared.values()) == [0.25]
    note = shared_note(data)
    assert note is not None
    assert note.startswith("Sets of 1 of 1 texts share rows: the spread between their seeds")
    assert f"is {math.sqrt(1 - 0.25):.2f} times that of independent sets" in note
    assert all(note in table.caption for table in performance_tables(data))
    assert note in limitations(data)


def test_nothing_is_said_of_shared_rows_where_sets_do_not_overlap_or_are_not_known(varied_study: Any) -> None:
    for inputs in (with_sets(varied_study, 0), read_inputs(parse_index(varied_study.index()))):
        assert shared_note(inputs.data) is None
        assert not any("share rows" in table.caption for table in performance_tables(inputs.data))
        assert not any("share rows" in text for text in limitations(inputs.data))
