"""Claims over runs that vary samples, prefix and filter rate: on the page of all targets, and in any study's report."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from layout_frames import LABELS, make_frame, make_study

from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.reporting.figures.setting_figure import amount_caption, amount_figure, amount_panels
from calibrant.reporting.inference.conclusions import judge_study
from calibrant.reporting.inference.decisions import Decisions
from calibrant.reporting.pages.render import every_block
from calibrant.reporting.pages.sections import Paragraph, TablePlace
from calibrant.reporting.pages.summarize import summarize
from calibrant.reporting.results.index import parse_index
from calibrant.reporting.results.result_frame import collect
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables.result_tables import performance_tables

KEYS = ("method", "sparsity", "source", "origin", "seed", "samples", "prefix_length", "drop")
TARGETS: dict[str, dict[str, Any]] = {
    "table2": {},
    "table4": {"methods": ("wanda",), "sources": ("wikipedia",), "drops": (0.0, 0.1, 0.2, 0.4)},
    "figure3": {"methods": ("wanda", "dsnot"), "sparsities": ("2:4",), "origins": ("real",), "samples": (64, 128, 256)},
    "figure4": {"methods": ("wanda",), "sources": ("wikipedia",), "prefixes": (0, 1, 4, 64)},
}
ACROSS = {  # what no target alone can test
    "Beyond 128 samples the amount does not matter",
    "With a prefix of any length it beats real text",
    "Prefixes of 1 to 4 tokens beat longer ones",
    "Without filtering it still beats real text",
    "Dropping 10 to 20 % beats dropping nothing",
}


def write_runs(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Runs by target; an evaluation that several ask for is one file."""
    folder.mkdir()
    written: dict[tuple[Any, ...], dict[str, Any]] = {}
    found: dict[str, list[dict[str, Any]]] = {}
    for target, options in TARGETS.items():
        groups = make_frame(**options).partition_by(*KEYS, as_dict=True, maintain_order=True)
        for key, rows in groups.items():
            if key not in written:
                path = folder / f"{len(written)}.json"
                columns = ("task", "metric", "value", "stderr", "n", "num_fewshot", "task_version", "split")
                path.write_text(json.dumps(rows.select(columns).to_dicts()))
                written[key] = {**dict(zip(KEYS, key, strict=True)), "evaluation": str(path), "model": "m"}
            found.setdefault(target, []).append(written[key])
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    folder = tmp_path_factory.mktemp("paper")
    return folder, write_runs(folder / "evaluations")


def study(title: str = "") -> dict[str, Any]:
    sources = [{"name": name, "label": label} for name, label in LABELS.items()]
    settings = [{"name": "Variant", "value": "compat paper"}]
    return {"name": "fake", "title": title, "model": {"id": "m"}, "sources": sources, "settings": settings}


def union(runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return list({run["evaluation"]: run for each in runs.values() for run in each}.values())


@pytest.fixture(scope="module")
def page(written: tuple[Path, dict[str, list[dict[str, Any]]]]) -> Path:
    folder, runs = written
    targets = []
    for name, each in runs.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps({"study": study(f"About {name}."), "runs": each, "layout": {"name": name}}))
        targets.append({"name": name, "index": str(path), "page": f"../{name}/index.html"})
    index = folder / "paper.json"
    index.write_text(json.dumps({"study": study("All of it"), "runs": union(runs), "targets": targets}))
    for name in ("paper", "again"):
        assert main(["summarize", "--results", str(index), "--output", str(folder / name)]) == 0
    return folder / "paper"


def judged(runs: list[dict[str, Any]]) -> dict[str, tuple[str, float | None]]:
    """Verdict and estimate of each claim that these runs test, without the report."""
    index = parse_index({"study": study(), "runs": runs})
    found = judge_study(StudyResults(collect(index.runs), index.study))
    assert found is not None
    return {
        j.claim.statement: (j.verdict, None if j.answer.shown is None else j.answer.shown.estimate.mean)
        for j in (*found.claims, *found.own)
        if j.answer.p is not None
    }


def table_of(path: Path) -> dict[str, tuple[str, float | None]]:
    frame = pl.read_csv(path, infer_schema_length=None)
    return {row["row"]: (row["verdict"], row["estimate"]) for row in frame.iter_rows(named=True)}


def test_claims_are_judged_by_the_runs_of_all_targets(
    page: Path, written: tuple[Path, dict[str, list[dict[str, Any]]]]
) -> None:
    found = table_of(page / "tables" / "claims.csv")
    assert found == judged(union(written[1]))
    assert set(found) >= ACROSS
    assert not ACROSS & set(judged(written[1]["table2"]))
    assert "of the paper's 25 conclusions" in (page / "summary.md").read_text().lower()


def test_one_file_holds_all_that_it_shows(page: Path) -> None:
    text = (page / "index.html").read_text()
    links = set(re.findall(r'(?:href|src)="([^"]+)"', text))
    assert {link for link in links if not link.startswith("#")} == {f"../{name}/index.html" for name in TARGETS}
    assert not re.search(r"<(script|link|img|iframe)\b|url\((?!#)|@import", text)
    order = [text.index(f'<section id="{name}">') for name in ("claims", *TARGETS, "data", "settings", "provenance")]
    assert order == sorted(order)
    assert text.count("<svg") == 2  # figures 3 and 4
    assert "sets of each text suffice for 80\u00a0%" in text  # what would decide
    assert "Two kinds of error" in text
    assert "<dt>Variant</dt><dd>compat paper</dd>" in text
    cells = re.findall(r"<td[^>]*>(.*?)</td>", text.replace('<tr class="below"><td', "<tr><th"), re.DOTALL)
    assert cells
    assert not any(re.search("<(b|strong)>", each) for each in cells)  # no best in bold
    assert "textbf" not in "".join(path.read_text() for path in (page / "tables").glob("*.tex"))
    assert (page.parent / "again" / "index.html").read_text() == text
    for name in ("claims", "table2", "table4", "data", "documents"):
        assert {path.suffix for path in (page / "tables").glob(f"{name}.*")} == {".md", ".csv", ".tex"}
    for name in ("figure3", "figure4"):
        suffixes = {path.suffix for path in (page / "figures").glob(f"{name}.*")}
        assert suffixes == {".svg", ".png", ".csv", ".parquet"}


def test_a_target_with_other_runs_is_refused(page: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    raw = json.loads((page.parent / "paper.json").read_text())
    (tmp_path / "paper.json").write_text(json.dumps({**raw, "runs": raw["runs"][:3]}))
    arguments = ["summarize", "--results", str(tmp_path / "paper.json"), "--output", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "table2.json: has" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_study_that_varies_its_settings_has_claims_and_its_tables_show_the_main_setting(
    written: tuple[Path, dict[str, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    runs = union(written[1])
    index = parse_index({"study": study(), "runs": runs})
    sections = {section.anchor: section for section in summarize(index, tmp_path, rows=0).sections}
    assert table_of(tmp_path / "tables" / "claims.csv") == judged(runs)
    varied = (tmp_path / "index.html").read_text().split('<section id="varied">')[1].split("</section>")[0]
    assert varied.count("<svg") == 2  # amounts and prefixes
    assert sum(isinstance(block, TablePlace) for block in every_block([sections["varied"]])) == 1  # filter rates
    said = [block.text for block in every_block([sections["settings"]]) if isinstance(block, Paragraph)]
    assert "128 samples, a prefix of 4 tokens, 20 % dropped" in said[0]
    cells = StudyResults(collect(index.runs), index.study).main_cells
    assert {cell.samples for cell in cells} == {128, None}
    assert {(cell.prefix_length, cell.drop) for cell in cells if cell.origin == "synthetic"} == {(4, 0.2)}
    # Runs without the settings stay: the dense model and magnitude.
    assert {"dense", "magnitude"} <= {cell.method for cell in cells}


def test_where_nothing_varies_everything_is_shown() -> None:
    mixed = pl.concat(
        [make_frame(methods=("wanda",), samples=(64,)), make_frame(methods=("dsnot",), samples=(128,))]
    ).unique(maintain_order=True)
    data = StudyResults(mixed, make_study())
    assert data.varied == []
    assert data.main_cells == data.cells
    (table,) = performance_tables(data)
    assert [len(section.rows) for section in table.sections] == [2, 8, 8]
    both = StudyResults(make_frame(methods=("wanda",), samples=(64, 128, 256)), make_study())
    assert both.varied == ["samples"]
    assert both.main == (128, 4, 0.2)


def test_the_figure_of_amounts_has_every_source_and_the_panels_that_vary() -> None:
    """Real text of two sources at two amounts, one generated text at a third: one panel, both sources, its own ends."""
    real = make_frame(methods=("wanda",), sources=("c4", "wikipedia"), origins=("real",), samples=(128, 256))
    other = make_frame(methods=("wanda",), sources=("c4",), origins=("synthetic",), samples=(64,))
    data = StudyResults(pl.concat([real, other]).unique(maintain_order=True), make_study())
    (panel,) = amount_panels(data)
    assert (panel.target, panel.method, panel.origin, list(panel.lines)) == (
        "0.6",
        "wanda",
        "real",
        ["c4", "wikipedia"],
    )
    assert panel.values == [128, 256]
    figure = amount_figure(data)
    assert figure is not None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["C4", "Wikipedia"]
    assert all(len(axes.lines) == 2 for axes in figure.axes)
    caption = amount_caption(data, Decisions())
    assert "from 128 to 256 samples the mean over 2 sources changes by " in caption
    assert "64" not in caption


def test_an_index_of_targets_is_checked() -> None:
    with pytest.raises(InputError, match="targets"):
        parse_index({"study": study(), "runs": [], "targets": [{"name": "table2"}]})
