"""Every table and figure of the paper from frames with known values: numbers, marks, words, files."""

import csv
import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from layout_frames import EVEN, LABELS, SOURCES, TASKS, make_frame, make_study
from scipy import stats

from calibrant.errors import InputError
from calibrant.reporting.figures import style
from calibrant.reporting.inference.statistics import Estimate, holm
from calibrant.reporting.pages.inputs import Inputs
from calibrant.reporting.pages.layouts import LAYOUTS, Products
from calibrant.reporting.results.index import Index, LayoutChoice
from calibrant.reporting.results.numbers import number
from calibrant.reporting.results.samples import SCORES
from calibrant.reporting.tables.table import Row, Table
from calibrant.reporting.tables.table_files import to_markdown, write_tables
from calibrant.scoring.corpus_similarity import SCHEMA as SIMILARITY
from calibrant.scoring.item_contamination import SCHEMA as CONTAMINATION

SPARSITIES = ("0.3", "0.4", "0.5", "0.6", "4:8", "2:4")
FRAMES: dict[str, dict[str, Any]] = {
    "table1": {"sparsities": ("2:4",), "origins": ("real",)},
    "table2": {},
    "table3": {"methods": ("wanda",), "sparsities": ("0.5", "0.65", "4:8", "2:4"), "synthetic_sources": ("wikipedia",)},
    "table4": {"methods": ("wanda",), "sources": ("wikipedia",), "drops": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)},
    "table5": {},
    "table6": {"synthetic_sources": ("wikipedia",)},
    "table7": {"methods": ("wanda",), "synthetic_sources": ("wikipedia",)},
    "figure1": {"sparsities": ("0.5", "0.6"), "origins": ("real",)},
    "figure2": {"methods": ("wanda",), "sparsities": SPARSITIES, "origins": ("real",)},
    "figure3": {"methods": ("wanda", "dsnot"), "sparsities": ("2:4",), "origins": ("real",),
                "samples": (64, 256, 2048)},
    "figure4": {"methods": ("wanda",), "sources": ("wikipedia",), "prefixes": (0, 1, 4, 64, 1024)},
    "figure5": {"methods": ("wanda",), "seeds": 1},
    "figure6": {"methods": ("wanda",), "sparsities": SPARSITIES, "origins": ("real",)},
    "figure7": {"methods": ("dsnot",), "sparsities": SPARSITIES, "origins": ("real",)},
    "figure8": {"methods": ("owl",), "sparsities": SPARSITIES, "origins": ("real",)},
    "similarity": {"methods": ("wanda",), "seeds": 1},
}  # fmt: skip


def make_scores(written: tuple[str, ...] = ("wikipedia",)) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    groups = [(s, "real", -1.1 + 0.05 * i) for i, s in enumerate(SOURCES[:3])] + [
        (s, "synthetic", -0.7) for s in written
    ]
    rows = [
        {"source": s, "origin": o, "seed": 0, "sample_id": i, "perplexity": 9.0, "tokens": 64,
         "min_k_plus_plus": mean + 0.3 * rng.standard_normal()}
        for s, o, mean in groups for i in range(40)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SCORES)


def make_similarity() -> pl.DataFrame:
    rows = [
        {"reference": a, "source": b, "unit": "word", "n": 3, "amount": 100_000, "reference_documents": 90,
         "documents": 80, "reference_shingles": 90_000, "shingles": 91_000, "jaccard": j, "stderr": 0.002,
         "permutations": 4096, "exact": None}
        for a, b, j in (("dclm", "c4", 0.07), ("dclm", "slimpajama", 0.016), ("dclm", "wikipedia", 0.015),
                        ("c4", "wikipedia", 0.02))
    ]  # fmt: skip
    names = SIMILARITY.names
    return pl.DataFrame(rows).select(names)


def make_items() -> pl.DataFrame:
    rows = [("c4", "boolq", "boolq 0", 0, None, 0, None), ("c4", "boolq", "boolq 1", 20, "c4-7", 19, 0.95),
            ("c4", "boolq", "boolq 2", 30, None, 0, 0.0),
            ("wikipedia", "boolq", "boolq 1", 20, "w-1", 9, 0.45)]  # fmt: skip
    return pl.DataFrame(
        [{"source": s, "evaluation": e, "kind": "task", "item": i, "unit": "word", "n": 8, "shingles": k,
          "doc_id": d, "shared": m, "share": share, "threshold": 0.5} for s, e, i, k, d, m, share in rows],
        schema=pl.DataFrame(CONTAMINATION.empty_table()).schema,
    )  # fmt: skip


def test_the_table_of_items_names_those_that_were_found() -> None:
    products, _ = build("similarity")
    (table,) = products.tables["contamination"]
    (first, found), (second, none) = rows_of(table)
    assert (first, second) == ("C4", "Wikipedia")
    assert list(found.cells) == [3, 2, 1, 50.0, 0.95, "boolq 1 (0.95, in c4-7)"]
    assert list(none.cells) == [1, 1, 0, 0.0, 0.45, None]
    assert "share of 0.5 or more" in table.caption


def make_inputs(frame: pl.DataFrame, *, model: str = "m", **parameters: Any) -> Inputs:
    index = Index(replace(make_study(), model_id=model), (), layout=LayoutChoice("any", parameters))
    return Inputs(index, frame, make_scores(), make_similarity(), make_items(), {})


def build(name: str, *, model: str = "m", parameters: dict[str, Any] | None = None,
          **options: Any) -> tuple[Products, pl.DataFrame]:  # fmt: skip
    frame = make_frame(**{**FRAMES[name], "chances": EVEN, **options})
    return LAYOUTS[name].build(make_inputs(frame, model=model, **(parameters or {}))), frame


def seeds_of(frame: pl.DataFrame, task: str, **cell: Any) -> np.ndarray:
    """Values by seed, as shown: perplexity as it is, `average` over the seven tasks in per cent."""
    chosen = frame.filter(*(pl.col(name).eq_missing(pl.lit(value)) for name, value in cell.items()))
    if task == "average":
        metric = pl.when(pl.col("task") == "hellaswag").then(pl.lit("acc_norm")).otherwise(pl.lit("acc"))
        chosen = chosen.filter(pl.col("task").is_in(TASKS), pl.col("metric") == metric)
        return 100 * chosen.group_by("seed").agg(pl.col("value").mean()).sort("seed")["value"].to_numpy()
    return chosen.filter(pl.col("task") == task).sort("seed")["value"].to_numpy()


def rows_of(table: Table) -> list[tuple[str, Row]]:
    return [(section.heading, row) for section in table.sections for row in section.rows]


def cell(table: Table, row: Row, key: str) -> Any:
    return row.cells[[c.key for c in table.columns].index(key)]


def score(task: str, values: np.ndarray) -> np.ndarray:
    """Higher is better: points, or per cent of the perplexity."""
    return values if task == "average" else -100 * np.log(values)


def welch(first: np.ndarray, second: np.ndarray) -> Any:
    return stats.ttest_ind(first, second, equal_var=False)


def best_of(scores: dict[str, np.ndarray]) -> set[str]:
    """What is better than each of the others by Welch's t, with Holm's correction over all pairs."""
    pairs = list(itertools.combinations(scores, 2))
    decided = holm([float(welch(scores[a], scores[b]).pvalue) for a, b in pairs])
    lost: set[str] = set()
    for (a, b), p in zip(pairs, decided, strict=True):
        first = scores[a].mean() > scores[b].mean()
        lost |= {a, b} if p is None or p >= 0.05 else {b if first else a}
    return set(scores) - lost


def is_mean_of(found: Any, values: np.ndarray) -> bool:
    assert isinstance(found, Estimate)
    assert found.mean == pytest.approx(values.mean())
    assert found.n == len(values)
    assert found.sd == pytest.approx(values.std(ddof=1))
    return True


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_layout_gives_what_it_promises(name: str, tmp_path: Path) -> None:
    products, _ = build(name)
    assert products.tables or products.figures
    for key, tables in products.tables.items():
        assert tables
        write_tables(tmp_path, key, tables)
        assert {path.suffix for path in tmp_path.glob(f"{key}.*")} == {".md", ".csv", ".tex"}
        assert not re.search(
            r"[^\x00-\x7f]", (tmp_path / f"{key}.tex").read_text(encoding="utf-8")
        )  # any LaTeX reads it
        for table in tables:
            assert all(len(row.cells) == len(table.columns) for _, row in rows_of(table))
    for drawing in products.figures:
        assert drawing.name == name
        assert drawing.figure is not None
        assert len(drawing.data)
        assert not re.search(r"nan|None|inf\b", drawing.caption)
        style.save(drawing.figure, tmp_path / "one" / f"{name}.svg")
        again, _ = build(name)
        second = next(d for d in again.figures if d.name == drawing.name).figure
        assert second is not None
        style.save(second, tmp_path / "two" / f"{name}.svg")
        assert (tmp_path / "one" / f"{name}.svg").read_bytes() == (tmp_path / "two" / f"{name}.svg").read_bytes()


@pytest.mark.parametrize("name", sorted(LAYOUTS.keys() - {"table5", "figure7", "figure8"}))  # as table2, figure6
@pytest.mark.parametrize("options", [
    {"seeds": 1},
    {"tasks": ()},
    {"tasks": ("piqa",), "text": None},
    {"sources": ("wikipedia",)},
    {"noise": 0.0},
], ids=["one seed", "perplexity alone", "one task alone", "one source", "no spread"])  # fmt: skip
def test_a_smaller_preset_uses_what_there_is(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    products, _ = build(name, **options)
    for key, tables in products.tables.items():
        write_tables(tmp_path, key, tables)
    for drawing in products.figures:
        assert not re.search(r"nan|None|inf\b", drawing.caption)
        if drawing.figure is not None:
            style.save(drawing.figure, tmp_path / f"{name}.svg")
    if options == {"seeds": 1} or options == {"noise": 0.0}:
        assert not any(row.marked for tables in products.tables.values() for t in tables for _, row in rows_of(t))


def test_table_1_holds_means_and_deviations() -> None:
    products, frame = build("table1")
    perplexity, average = products.tables["table1"]
    for table, task, key in ((perplexity, "alpaca", "alpaca"), (average, "average", "average")):
        assert [row.label for _, row in rows_of(table)] == ["Wanda", "DSnoT", "OWL"]
        for method, (_, row) in zip(("wanda", "dsnot", "owl"), rows_of(table), strict=True):
            for source in SOURCES:
                values = seeds_of(frame, task, method=method, source=source, origin="real")
                assert is_mean_of(cell(table, row, LABELS[source].lower()), values), key


def test_table_1_marks_only_what_a_test_holds_apart() -> None:
    products, _ = build("table1")
    average = products.tables["table1"][1]
    marked = [[average.columns[i].key for i in row.marked] for _, row in rows_of(average)]
    assert marked == [["dclm"], ["dclm"], ["dclm"]]
    assert "62.4" in to_markdown(average)
    assert to_markdown(average).count("†") == 4  # three values and the caption
    noisy, _ = build("table1", noise=0.05, seeds=3)
    assert not any(row.marked for table in noisy.tables["table1"] for _, row in rows_of(table))


def test_tables_2_and_5_test_scores_by_welch_and_correct_over_the_column() -> None:
    products, frame = build("table2", noise=0.02)
    (table,) = products.tables["table2"]
    families: dict[str, list[float]] = {"alpaca": [], "average": []}
    marks: dict[str, list[bool]] = {"alpaca": [], "average": []}
    for method in ("wanda", "dsnot", "owl"):
        label = {"wanda": "Wanda", "dsnot": "DSnoT", "owl": "OWL"}[method]
        found = [row for heading, row in rows_of(table) if heading == label]
        assert [row.label for row in found] == [text for s in SOURCES for text in (LABELS[s], "w/ Syn")]
        for source, (first, second) in zip(SOURCES, zip(found[::2], found[1::2], strict=True), strict=True):
            for task, key in (("alpaca", "alpaca_perplexity"), ("average", "average")):
                real = seeds_of(frame, task, method=method, source=source, origin="real")
                written = seeds_of(frame, task, method=method, source=source, origin="synthetic")
                assert is_mean_of(cell(table, first, key), real)
                assert is_mean_of(cell(table, second, key), written)
                better, worse = score(task, written), score(task, real)
                assert cell(table, second, f"delta_{key}") == pytest.approx(better.mean() - worse.mean())
                interval = cell(table, second, f"delta_{key}_interval")
                expected = welch(better, worse).confidence_interval(0.95)
                assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
                families[task].append(float(welch(better, worse).pvalue))
                position = [c.key for c in table.columns].index(f"delta_{key}")
                marks[task].append(position in second.marked)
                assert not first.marked
    for task, p_values in families.items():
        assert marks[task] == [p is not None and p < 0.05 for p in holm(p_values)]
        assert set(marks[task]) == {True, False}


def test_table_2_counts_what_is_decided() -> None:
    caption = build("table2")[0].tables["table2"][0].caption
    assert (
        "In mean accuracy, self-generated text is better in 12 of 12 comparisons, worse in 0, undecided in 0."
        in caption
    )
    caption = build("table2", noise=0.02, seeds=2)[0].tables["table2"][0].caption
    assert "better in 0 of 12 comparisons, worse in 0, undecided in 12" in caption


def test_table_2_says_what_the_model_was_trained_on() -> None:
    (table,) = build("table2")[0].tables["table2"]
    assert {cell(table, row, "pretrain") for _, row in rows_of(table)} == {None}
    assert "the study does not say what the model was trained on" in table.caption
    inputs = make_inputs(make_frame(**FRAMES["table2"]))
    index = replace(inputs.index, study=replace(inputs.study, trained_on=("dclm",)))
    (table,) = LAYOUTS["table2"].build(replace(inputs, index=index)).tables["table2"]
    found = {row.label: cell(table, row, "pretrain") for heading, row in rows_of(table) if heading == "OWL"}
    assert found == {"C4": "no", "Wikipedia": "no", "SlimPajama": "no", "DCLM": "yes", "w/ Syn": None}
    assert "the model was trained on the source (DCLM)" in table.caption


def test_tasks_at_chance_are_named_and_never_marked() -> None:
    def weak(cell: dict[str, Any]) -> float:
        return 0.40 + 0.05 * (cell["origin"] == "synthetic")

    products, _ = build("table6", true=weak, noise=0.0005, items=400)
    (table,) = products.tables["table6"]
    # boolq, winogrande and piqa are within two errors of one half, or below it; the rest are above a quarter.
    assert "On BoolQ, WinoGrande, PIQA the dense model is not above chance" in table.caption
    keys = {table.columns[i].key for _, row in rows_of(table) for i in row.marked}
    assert "mmlu_acc" in keys
    assert "average_above_chance" in keys
    assert not keys & {"boolq_acc", "winogrande_acc", "piqa_acc", "average"}


@pytest.mark.parametrize("name", ["table1", "table2", "table6"])
def test_sparsity_that_was_not_met_is_named(name: str) -> None:
    asked = pl.col("sparsity").cast(pl.Float64, strict=False).fill_null(0.5)  # 2:4
    for short in (0.001, 0.03):
        achieved = asked - pl.when(pl.col("method") == "owl").then(short).otherwise(0.0)
        frame = make_frame(**FRAMES[name]).with_columns(achieved.alias("achieved_sparsity"))
        for table in LAYOUTS[name].build(make_inputs(frame)).tables[name]:
            assert ("Pruned otherwise than asked" in table.caption) == (short > 0.005)
            assert "Wanda 60" not in table.caption
            if name in ("table2", "table6") and short > 0.005:
                assert "OWL 57.0 % for 60 %" in table.caption


def test_tables_6_and_7_have_five_rows_a_method() -> None:
    (table,) = build("table6")[0].tables["table6"]
    for method in ("Wanda", "DSnoT", "OWL"):
        found = [row for heading, row in rows_of(table) if heading == method]
        assert [row.label for row in found] == ["C4", "Wikipedia", "SlimPajama", "DCLM", "Syn"]
        assert {c.key for c in table.columns} >= {"alpaca_perplexity", "hellaswag_acc_norm", "average"}
    assert "Syn: text that the model wrote from prefixes of Wikipedia." in table.caption
    (table,) = build("table7")[0].tables["table7"]
    assert "alpaca_perplexity" not in {c.key for c in table.columns}
    assert [row.label for heading, row in rows_of(table) if heading == "Wanda"][-1] == "Syn"
    (alone,) = build("table7", tasks=())[0].tables["table7"]
    assert [c.key for c in alone.columns] == ["seeds", "alpaca_perplexity"]


def test_syn_source_picks_one_of_several_and_must_have_been_run() -> None:
    products, frame = build("table6", parameters={"syn_source": "c4"}, synthetic_sources=("c4", "dclm"))
    (table,) = products.tables["table6"]
    row = next(row for heading, row in rows_of(table) if (heading, row.label) == ("OWL", "Syn"))
    assert is_mean_of(
        cell(table, row, "average"), seeds_of(frame, "average", method="owl", source="c4", origin="synthetic")
    )
    with pytest.raises(InputError, match=r"syn_source is dclm; self-generated text comes of wikipedia"):
        build("table6", parameters={"syn_source": "dclm"})


def test_table_3_has_a_column_per_sparsity() -> None:
    products, frame = build("table3")
    perplexity, average = products.tables["table3"]
    assert [c.title for c in average.columns[1:]] == ["50 %", "65 %", "4:8", "2:4"]
    for task, table in (("alpaca", perplexity), ("average", average)):
        found = {row.label: row for heading, row in rows_of(table) if heading == "Wanda"}
        for column, sparsity in enumerate(("0.5", "0.65", "4:8", "2:4"), start=1):
            values = seeds_of(frame, task, sparsity=sparsity, source="wikipedia", origin="synthetic")
            assert is_mean_of(found["Syn"].cells[column], values)
            values = seeds_of(frame, task, sparsity=sparsity, source="dclm", origin="real")
            assert is_mean_of(found["DCLM"].cells[column], values)
        for column, sparsity in enumerate(("0.5", "0.65", "4:8", "2:4"), start=1):
            marked = {label for label, row in found.items() if column in row.marked}
            kinds = {"Syn": ("wikipedia", "synthetic"), **{LABELS[s]: (s, "real") for s in SOURCES}}
            assert marked == best_of(
                {
                    label: score(task, seeds_of(frame, task, sparsity=sparsity, source=s, origin=o))
                    for label, (s, o) in kinds.items()
                }
            )
    assert found["Syn"].marked == {2, 3, 4}
    assert len({c.key for c in average.columns}) == len(average.columns)


def test_table_4_compares_every_rate_with_real_text() -> None:
    products, frame = build("table4")
    (table,) = products.tables["table4"]
    found = rows_of(table)
    assert {heading for heading, _ in found} == {"Wikipedia, Wanda, 60 %"}
    assert [row.label for _, row in found] == ["Real text", *(f"{p} % dropped" for p in (0, 10, 20, 30, 40, 50))]
    real = seeds_of(frame, "average", method="wanda", origin="real")
    assert is_mean_of(cell(table, found[0][1], "average"), real)
    p_values, marks = [], []
    for drop, (_, row) in zip((0.0, 0.1, 0.2, 0.3, 0.4, 0.5), found[1:], strict=True):
        values = seeds_of(frame, "average", method="wanda", origin="synthetic", drop=drop)
        assert is_mean_of(cell(table, row, "average"), values)
        assert cell(table, row, "delta_average") == pytest.approx(values.mean() - real.mean())
        p_values.append(float(welch(values, real).pvalue))
        marks.append([c.key for c in table.columns].index("delta_average") in row.marked)
    assert marks == [p is not None and p < 0.05 for p in holm(p_values)]


def test_table_4_leaves_out_methods_of_which_there_is_one_rate() -> None:
    frame = make_frame(**{**FRAMES["table4"], "methods": ("wanda", "dsnot")})
    fixed = (pl.col("method") == "dsnot") & (pl.col("drop").fill_null(0.2) != 0.2)
    (table,) = LAYOUTS["table4"].build(make_inputs(frame.filter(~fixed))).tables["table4"]
    assert {heading for heading, _ in rows_of(table)} == {"Wikipedia, Wanda, 60 %"}
    (table,) = LAYOUTS["table4"].build(make_inputs(frame)).tables["table4"]
    assert {heading for heading, _ in rows_of(table)} == {"Wikipedia, Wanda, 60 %", "Wikipedia, DSnoT, 60 %"}


def test_published_values_stand_below_ours_and_only_for_their_model() -> None:
    (table,) = build("table5", model="meta-llama/Llama-2-7b-hf")[0].tables["table5"]
    found = [row for heading, row in rows_of(table) if heading == "OWL"]
    position = next(i for i, row in enumerate(found) if row.label == "Wikipedia")
    real, paper, written, paper_written = found[position : position + 4]
    assert (paper.label, paper.role, written.label) == ("as published", "published", "w/ Syn")
    assert cell(table, paper, "average").mean == 56.54
    assert cell(table, paper, "alpaca_perplexity").mean == 9.30
    assert cell(table, paper_written, "hellaswag_acc_norm").mean == 62.86
    assert cell(table, paper_written, "delta_average") == pytest.approx(0.83)
    assert real.role == "real"
    (table,) = build("table7", model="meta-llama/Meta-Llama-3-8B")[0].tables["table7"]
    syn = [row for _, row in rows_of(table)][-1]
    assert syn.label == "as published, method not stated"
    assert cell(table, syn, "average").mean == 52.11
    table = build("table1", model="apple/DCLM-7B")[0].tables["table1"][1]
    wanda = rows_of(table)[1][1]
    assert [(cell(table, wanda, s).mean, cell(table, wanda, s).sd) for s in ("c4", "wikipedia")] == [
        (62.52, 0.21), (61.03, 0.21)]  # fmt: skip
    (table,) = build("table5")[0].tables["table5"]
    assert not any(row.role == "published" for _, row in rows_of(table))


def test_a_published_average_of_seven_tasks_is_not_set_beside_one_of_fewer() -> None:
    (table,) = build("table5", model="meta-llama/Llama-2-7b-hf", tasks=TASKS[:4])[0].tables["table5"]
    papers = [row for _, row in rows_of(table) if row.role == "published"]
    assert papers
    assert all(cell(table, row, "average") is None for row in papers)
    assert all(cell(table, row, "delta_average") is None for row in papers)
    assert cell(table, papers[0], "boolq_acc") is not None


def test_csv_names_the_marked_columns(tmp_path: Path) -> None:
    products, _ = build("table1")
    write_tables(tmp_path, "table1", products.tables["table1"])
    rows = list(csv.DictReader((tmp_path / "table1.csv").open(encoding="utf-8")))
    assert [row["marked"] for row in rows] == ["dclm"] * 6
    assert "†" not in (tmp_path / "table1.csv").read_text(encoding="utf-8")
    assert r"$^\dagger$" in (tmp_path / "table1.tex").read_text(encoding="utf-8")


def test_figure_2_holds_the_range_of_means() -> None:
    products, frame = build("figure2")
    data = products.figures[0].data.filter(pl.col("measure") == "average")
    assert data["sparsity"].to_list() == list(SPARSITIES)
    for row in data.iter_rows(named=True):
        means = {
            s: seeds_of(frame, "average", sparsity=row["sparsity"], source=s, method="wanda").mean() for s in SOURCES
        }
        assert row["range"] == pytest.approx(max(means.values()) - min(means.values()))
        assert (row["lowest"], row["highest"]) == (min(means, key=means.get), max(means, key=means.get))
        assert row["low"] <= row["range"] <= row["high"]
    largest = data["range"].max()
    assert f"{largest:.2f} points (95 % interval " in products.figures[0].caption


def test_figure_3_says_what_more_samples_change() -> None:
    products, frame = build("figure3")
    (drawing,) = products.figures
    row = drawing.data.filter(
        pl.col("measure") == "average", pl.col("method") == "dsnot", pl.col("source") == "c4", pl.col("samples") == 256
    ).row(0, named=True)
    values = seeds_of(frame, "average", method="dsnot", source="c4", samples=256)
    assert (row["mean"], row["sd"], row["n"]) == pytest.approx((values.mean(), values.std(ddof=1), 5))
    amounts = (64, 256, 2048)
    means = {s: [seeds_of(frame, "average", method="wanda", source=s, samples=n).mean() for n in amounts]
             for s in SOURCES}  # fmt: skip
    change = np.mean([np.polyfit(np.log(amounts), means[s], 1)[0] for s in SOURCES]) * np.log(2048 / 64)
    words = "Wanda, 2:4, mean accuracy: from 64 to 2048 samples the mean over 4 sources changes by "
    assert f"{words}{number(change, 2, True)} points (95 % interval " in drawing.caption
    factors = [float(x) for x in re.findall(r"the deviation between sets is multiplied by (\S+) \(", drawing.caption)]
    assert len(factors) == 4  # two methods, two outcomes
    assert max(factors) < 1  # noise is (128 / n) ** 0.25


def test_figure_4_has_the_real_text_and_counts_the_prefixes_that_beat_it() -> None:
    products, frame = build("figure4")
    (drawing,) = products.figures
    data = drawing.data.filter(pl.col("measure") == "average")
    assert data["prefix_length"].to_list() == [None, 0, 1, 4, 64, 1024]
    assert data["origin"].to_list() == ["real", *["synthetic"] * 5]
    real = seeds_of(frame, "average", method="wanda", origin="real")
    assert data["mean"][0] == pytest.approx(real.mean())
    written = {p: seeds_of(frame, "average", origin="synthetic", prefix_length=p) for p in (0, 1, 4, 64, 1024)}
    p_values = holm([float(welch(values, real).pvalue) for values in written.values()])
    better = sum(
        p is not None and p < 0.05 and v.mean() > real.mean() for p, v in zip(p_values, written.values(), strict=True)
    )
    assert f"mean accuracy: self-generated text is better than real text at {better} of 5" in drawing.caption
    contrast = (written[1] + written[4]) / 2 - (written[64] + written[1024]) / 2
    assert f"prefixes of 1 to 4 tokens minus longer ones: +{contrast.mean():.2f} points" in drawing.caption


def test_figure_5_counts_pairs() -> None:
    products, _ = build("figure5", parameters={"min_k": 50.0})
    scores = make_scores()
    own = scores.filter(pl.col("origin") == "synthetic")["min_k_plus_plus"].to_numpy()
    other = scores.filter(pl.col("source") == "c4")["min_k_plus_plus"].to_numpy()
    more = 100 * np.mean(own[:, None] > other[None, :]) - 50
    assert f"higher than real text, less 50 %, is {more:+.1f} for C4 (95 % interval " in products.figures[0].caption
    assert products.figures[0].figure is not None
    assert products.figures[0].figure.axes[0].get_xlabel().startswith("Min-50%++ score")
    (table,) = products.tables["figure5"]
    c4 = next(row for _, row in rows_of(table) if row.label == "C4")
    assert c4.cells[:3] == pytest.approx([40, np.median(other), more])
    curve = products.figures[0].data.filter(pl.col("source") == "c4")
    area = np.trapezoid(curve["density"].to_numpy(), curve["score"].to_numpy())
    assert 0.8 < area <= 1.001


def test_figure_5_has_a_panel_a_source_where_several_were_written() -> None:
    scores = make_scores(("c4", "wikipedia"))
    inputs = make_inputs(make_frame(**FRAMES["figure5"]))
    both = replace(inputs, scores=scores)
    (drawing,) = LAYOUTS["figure5"].build(both).figures
    assert drawing.figure is not None
    titles = [axes.get_title("left") for axes in drawing.figure.axes if axes.get_visible()]
    assert titles == ["C4", "Wikipedia", "SlimPajama"]
    assert len(re.findall(r"is \S+ for (C4|Wikipedia) ", drawing.caption)) == 2  # each against the text it continues
    picked = replace(make_inputs(inputs.frame, syn_source="c4"), scores=scores)
    assert LAYOUTS["figure5"].build(picked).figures[0].caption.count(" (95 % interval ") == 3


def test_similarity_orders_what_the_errors_tell_apart() -> None:
    products, _ = build("similarity")
    (table,) = products.tables["similarity"]
    found = [row.label for heading, row in rows_of(table) if heading == "Similarity to DCLM"]
    assert found == ["C4", "SlimPajama", "Wikipedia"]
    text = "To DCLM: C4 0.0700 ± 0.0039 > SlimPajama 0.0160 ± 0.0039 ≈ Wikipedia 0.0150 ± 0.0039."
    assert text in products.figures[0].caption
    assert text in table.caption
    assert products.figures[0].data.equals(make_similarity())


def test_similarity_shows_the_paper_only_beside_its_model() -> None:
    inputs = make_inputs(make_frame(**FRAMES["similarity"]))
    ours = LAYOUTS["similarity"].build(inputs).tables["similarity"][0]
    assert "published" not in {c.key for c in ours.columns}
    theirs = make_inputs(inputs.frame, model="apple/DCLM-7B")
    table = LAYOUTS["similarity"].build(theirs).tables["similarity"][0]
    found = {row.label: cell(table, row, "published") for h, row in rows_of(table) if h == "Similarity to DCLM"}
    assert found == {"C4": 0.070, "SlimPajama": 0.016, "Wikipedia": 0.008}


@pytest.mark.parametrize("name", ["figure1", "figure3", "figure6"])
def test_sources_are_told_apart_without_colour(name: str) -> None:
    drawing = build(name)[0].figures[0]
    figure = drawing.figure
    assert figure is not None
    handles = [h for h in figure.legends[0].legend_handles if h.get_label() in LABELS.values()]
    assert len(handles) == 4
    assert len({h.get_marker() for h in handles}) == 4
    assert [h.get_color() for h in handles] == list(style.PALETTE[:4])


def test_a_source_has_its_colour_though_others_were_not_run() -> None:
    drawing = build("figure3", sources=("slimpajama", "dclm"))[0].figures[0]
    assert drawing.figure is not None
    colours = {h.get_label(): h.get_color() for h in drawing.figure.legends[0].legend_handles}
    assert colours == {"SlimPajama": style.PALETTE[2], "DCLM": style.PALETTE[3]}


@pytest.mark.parametrize("name", ["figure1", "figure2", "figure3", "figure4", "figure6"])
def test_the_words_of_a_figure_do_not_run_into_each_other(name: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # Some tasks at chance give the longest label of an axis.
    frame = make_frame(**FRAMES[name]).with_columns(
        value=pl.when(pl.col("task") == "boolq").then(0.5).otherwise(pl.col("value"))
    )
    drawing = LAYOUTS[name].build(make_inputs(frame)).figures[0]
    figure = drawing.figure
    assert figure is not None
    assert "tasks above chance" in drawing.caption
    with style.context():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        panels = [axes.get_tightbbox(renderer).padded(-1) for axes in figure.axes if axes.get_visible()]
        legends = [legend.get_window_extent(renderer).padded(-1) for legend in figure.legends]
        assert not any(a.overlaps(b) for a, b in itertools.combinations([*panels, *legends], 2))
        for axes in figure.axes:
            for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
                straight = [t for t in labels if t.get_text() and t.get_rotation() == 0]
                boxes = [t.get_window_extent(renderer) for t in straight]
                assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_a_method_that_was_not_run_has_no_figure_or_is_refused() -> None:
    products, _ = build("figure7", methods=("wanda",))
    assert products.figures[0].figure is None
    with pytest.raises(InputError, match=r"layout.parameters.methods has owl; the runs have wanda"):
        build("figure2", parameters={"methods": ["owl"]})


def test_a_target_without_data_says_so() -> None:
    inputs = make_inputs(make_frame(methods=(), sparsities=()))
    for name in LAYOUTS:
        tables = ("scores", "similarity", "contamination")
        empty = replace(inputs, **{each: getattr(inputs, each).clear() for each in tables})
        products = LAYOUTS[name].build(empty)
        assert all(drawing.figure is None for drawing in products.figures), name
        assert not any(products.tables.values()), name
