"""Tables against direct computation, and their Markdown, LaTeX and CSV forms."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from calibrant.reporting.inference.contrasts import Contrast, Question
from calibrant.reporting.inference.decisions import Decided, Decisions
from calibrant.reporting.inference.statistics import Estimate, estimate
from calibrant.reporting.results.index import read_index
from calibrant.reporting.results.numbers import number, p_value
from calibrant.reporting.results.result_frame import collect
from calibrant.reporting.results.samples import Pool, read_scores
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables import result_tables
from calibrant.reporting.tables.data_table import data_table, documents_table, why_dropped
from calibrant.reporting.tables.table import Column, Row, Section, Table
from calibrant.reporting.tables.table_files import escape_latex, to_csv, to_latex, to_markdown, write_tables


def compare(study: Any) -> tuple[pl.DataFrame, StudyResults]:
    index = read_index(study.write())
    frame = collect(index.runs)
    return frame, StudyResults(frame, index.study)


def cells_of(markdown: str, label: str) -> list[str]:
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.strip("|").split(" | ")][1:]


def test_performance_numbers(study: Any) -> None:
    frame, data = compare(study)
    table = result_tables.performance_tables(data)[1]
    assert table.title == "Performance at 60 % sparsity"
    text = to_markdown(table)

    def values(source: str, origin: str, task: str) -> np.ndarray[Any, Any]:
        chosen = frame.filter(
            (pl.col("source") == source) & (pl.col("origin") == origin) & (pl.col("sparsity") == "0.6")
            & (pl.col("task") == task) & (pl.col("metric") != "acc_norm")
        ).sort("seed")  # fmt: skip
        return chosen["value"].to_numpy()

    real = values("news", "real", "fiction")
    assert cells_of(text, "News, real")[:2] == ["2", f"{real.mean():.2f} ± {real.std(ddof=1):.2f}"]
    accuracy = 100 * values("news", "real", "next_sentence_web")
    assert cells_of(text, "News, real")[2] == f"{accuracy.mean():.1f} ± {accuracy.std(ddof=1):.1f}"
    assert cells_of(text, "Dense")[:2] == ["–", "13.60"]  # one evaluation: no seeds, no spread
    assert cells_of(text, "Magnitude")[1] == "924.00"
    assert cells_of(text, "News, real")[-1] == "60.01"


def test_differences_table_numbers(study: Any) -> None:
    _, data = compare(study)
    table = result_tables.difference_tables(data, Decisions(), data.perplexities)[0]
    groups = {
        source: [
            -100 * np.log(list(data.values(data.at("wanda", "0.6", source, origin), data.perplexities[0]).values()))
            for origin in ("synthetic", "real")
        ]
        for source in data.sources
    }
    means = [written.mean() - real.mean() for written, real in groups.values()]
    row = table.sections[1].rows[0]
    test = stats.ttest_ind(*groups["web"], equal_var=False)
    assert row.cells[1] == pytest.approx(means[0])
    assert row.cells[4] == pytest.approx(test.pvalue)
    together, reach = table.sections[1].rows[-2:]
    assert together.cells[0] == 16
    assert together.cells[1] == pytest.approx(np.mean(means))
    # Satterthwaite: eight groups, each with its own variance.
    parts = [group.var(ddof=1) / 2 / 16 for pair in groups.values() for group in pair]
    freedom = sum(parts) ** 2 / sum(part**2 for part in parts)
    assert together.cells[4] == pytest.approx(2 * stats.t.sf(abs(np.mean(means)) / sum(parts) ** 0.5, freedom))
    assert reach.cells[3].low == pytest.approx(stats.ttest_1samp(means, 0).confidence_interval(0.95).low)
    assert list(reach.cells[4:]) == [None, None, None]  # an interval, never a verdict
    # Holm over the 8 source rows: the smallest p-value is multiplied by 8.
    rows = [r for section in table.sections for r in section.rows if r.role == "plain"]
    smallest = min(rows, key=lambda r: r.cells[4])  # type: ignore[arg-type, return-value]
    assert smallest.cells[5] == pytest.approx(8 * smallest.cells[4])  # type: ignore[operator]


def test_no_side_is_named_without_a_test() -> None:
    def side(found: Estimate, p: float | None, *, readable: bool = True) -> str:
        contrast = Contrast("", found, "points", "", 2, Question("m", (), ()), readable=readable)
        return result_tables.side(Decided(contrast, p))

    assert side(Estimate(3.0, None, 1), None) == "undecided"
    assert side(estimate([3.0, 1.0]), 0.3) == "undecided"
    assert side(estimate([3.0, 2.9]), 0.01) == "self-generated"
    assert side(estimate([-3.0, -2.9]), 0.01) == "real"
    assert side(estimate([-3.0, -2.9]), 0.01, readable=False) == "at chance"


def test_no_difference_is_read_at_chance(study: Any) -> None:
    _, data = compare(study)
    piqa = next(m for m in data.accuracies if m.task == "piqa")
    table = result_tables.difference_tables(data, Decisions(), [piqa])[0]
    rows = [row for section in table.sections for row in section.rows if row.label != result_tables.REACH]
    assert {row.cells[-1] for row in rows} == {"at chance"}


def test_items_keep_their_error_apart(study: Any) -> None:
    frame, data = compare(study)
    table = result_tables.items_table(data)[0]
    row = next(r for r in table.sections[0].rows if r.label == "PIQA")
    dense = frame.filter((pl.col("method") == "dense") & (pl.col("task") == "piqa") & (pl.col("metric") == "acc"))
    assert row.cells[:5] == [
        200,
        pytest.approx(100 * 928 / 1838),
        pytest.approx(51.0),
        pytest.approx(100 * dense["stderr"][0]),
        "no",
    ]
    spread = next(r for r in table.sections[0].rows if r.label == "Fiction").cells[6]
    pruned = frame.filter(
        (pl.col("task") == "fiction") & (pl.col("sparsity") == "0.5") & pl.col("source").is_not_null()
    )
    variances = pruned.group_by("source", "origin").agg(pl.col("value").var())["value"]
    assert spread == pytest.approx(variances.mean() ** 0.5)  # type: ignore[operator]


def test_one_seed_has_no_spread_and_no_interval(make_study: Callable[..., Any]) -> None:
    _, data = compare(make_study(seeds=1))
    performance = to_markdown(result_tables.performance_tables(data)[0])
    assert "±" not in performance.split("\n\n")[1]
    assert cells_of(performance, "Web, real")[0] == "1"
    differences = to_markdown(result_tables.difference_tables(data, Decisions(), data.perplexities)[0])
    assert cells_of(differences, "Web")[2:6] == ["–"] * 4
    assert cells_of(differences, "Web")[6] == "undecided"


def test_what_was_not_run_is_a_dash_never_zero(study: Any) -> None:
    frame, _ = compare(study)
    missing = (pl.col("source") == "web") & (pl.col("origin") == "synthetic") & (pl.col("task") == "fiction")
    index = read_index(study.write())
    data = StudyResults(frame.filter(~missing), index.study)
    text = to_markdown(result_tables.performance_tables(data)[0])
    assert cells_of(text, "Web, self-generated")[1] == "–"
    differences = result_tables.difference_tables(data, Decisions(), data.perplexities)[0]
    assert "Web" not in {row.label for section in differences.sections for row in section.rows}
    row = next(csv.DictReader(io.StringIO(to_csv(result_tables.performance_tables(data)))))
    assert row["fiction_perplexity_sd"] == ""  # dense: one value
    absent = [r for r in csv.DictReader(io.StringIO(to_csv(result_tables.performance_tables(data))))
              if r["row"] == "Web, self-generated"]  # fmt: skip
    assert {r["fiction_perplexity_mean"] for r in absent} == {""}


def test_fewer_seeds_in_one_cell_are_told(study: Any) -> None:
    frame, _ = compare(study)
    gone = (pl.col("source") == "web") & (pl.col("seed") == 1) & (pl.col("task") == "fiction")
    data = StudyResults(frame.filter(~gone), read_index(study.write()).study)
    assert cells_of(to_markdown(result_tables.performance_tables(data)[0]), "Web, real")[1].endswith("(n = 1)")


def test_data_table() -> None:
    scores = pl.DataFrame(
        {"source": ["a"] * 3, "origin": ["real"] * 3, "perplexity": [1.0, 3.0, 9.0], "min_k_plus_plus": [-1.0, -2, -4]}
    )
    counts = {"counts": {"read": 10, "dropped": {"short_one": 1, "duplicate": 3, "empty": 0}, "kept": 6}}
    pools = [Pool("a", "synthetic", 1, 40, 20480, 0.8125, (512, 512))]
    labels = {"a": "A", "b": "B"}
    tables = [documents_table(labels, {"a": counts}), data_table(labels, pools, scores)]
    expected = [
        ["10", "4", "6", "–", "–", "3 duplicate, 1 short one"],
        ["–", "40", "20,480", "81", "3.0", "–", "−2.00", "–"],
    ]
    for table, cells in zip(tables, expected, strict=True):
        assert cells_of(to_markdown(table), "A") == cells
        assert set(cells_of(to_markdown(table), "B")) == {"–"}
    assert why_dropped({}) == "none"


def test_no_scores() -> None:
    assert read_scores([]).is_empty()


def tricky() -> Table:
    columns = [Column("x_y", "A|B", "50 %", 2, kind="spread"), Column("w", "Words", kind="text")]
    rows = [Row("a_b & c | d", [estimate([1.0, 2.0]), "x < y"]), Row("none", [None, ""])]
    return Table("T_1", "100 % & more", "Stub", columns, [Section("S|1", rows)])


def test_markdown_is_well_formed() -> None:
    lines = [line for line in to_markdown(tricky()).splitlines() if line.startswith("|")]
    assert len(lines) == 5
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert counts == {4}  # the same number of unescaped bars in every line: 3 columns
    assert lines[3] == r"| a_b & c \| d | 1.50 ± 0.71 | x < y |"
    assert lines[4] == "| none | – | – |"


def test_latex_escapes_and_balances() -> None:
    text = to_latex(tricky())
    assert r"a\_b \& c | d & 1.50 $\pm$ 0.71 & x $<$ y \\" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert escape_latex("−5 % of #1_a \\ ~") == r"$-$5 \% of \#1\_a \textbackslash{} \textasciitilde{}"


def test_csv_has_full_precision() -> None:
    row = next(csv.DictReader(io.StringIO(to_csv([tricky()]))))
    assert float(row["x_y_sd"]) == 0.5**0.5
    assert (row["table"], row["section"], row["row"]) == ("T_1", "S|1", "a_b & c | d")


def test_numbers() -> None:
    assert [number(x, 1, True) for x in (1.25, -0.04, -2.0, 0.0)] == ["+1.2", "0.0", "−2.0", "0.0"]
    assert number(12345.678, 2) == "12,345.68"
    assert [p_value(p) for p in (0.00001, 0.0321, 0.4567, 0.999)] == ["< 0.001", "0.032", "0.46", "> 0.99"]


def test_an_empty_table_says_so(tmp_path: Path) -> None:
    write_tables(tmp_path, "x", [])
    assert (tmp_path / "x.md").read_text() == "The study has nothing for this table.\n"
    assert (tmp_path / "x.csv").read_text().startswith("table,")
