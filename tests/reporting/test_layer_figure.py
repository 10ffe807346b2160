"""Figures of what pruning did inside the model: errors by decoder layer, and what masks have in common."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from calibrant.artefacts.parquet import write_table
from calibrant.errors import InputError
from calibrant.pruning.inspection.mask_overlap import SCHEMA
from calibrant.reporting.figures import style
from calibrant.reporting.figures.layer_figure import heldout_words, layer_caption, layer_figure, mean_ratio, ratio_words
from calibrant.reporting.figures.overlap_figure import mean_overlaps, overlap_caption, overlap_figure, overlap_words
from calibrant.reporting.pages.summarize import summarize
from calibrant.reporting.results.index import Inspections, LayerFile, MaskText, parse_index, read_index
from calibrant.reporting.results.inspections import read_layers, read_overlaps

LABELS = {"web": "Web", "news": "News"}
ORIGINS = ("real", "synthetic")
DEPTH = 3


def figures_file(path: Path, own: np.ndarray, held: np.ndarray | None, seed: int = 0) -> str:
    """What `inspect` writes: errors of sequences [layers, sequences], and over all of them (here their mean)."""
    rows = []
    for layer in range(len(own)):
        sets = {f"set-s{seed}.parquet (calibration)": own[layer]}
        if held is not None:
            sets["other.parquet"] = held[layer]
        rows.append(
            {
                "name": f"model.layers.{layer}",
                "achieved_sparsity": 0.6,
                "reconstruction_error": {k: float(v.mean()) if len(v) else None for k, v in sets.items()},
                "errors_of_sequences": {k: v.tolist() for k, v in sets.items()},
            }
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return str(path)


def overlap_file(path: Path, masks: list[MaskText]) -> str:
    """A table in which masks share less the more they differ; rows of a layer must not be read as the whole."""
    rows = []
    for a, b in itertools.combinations(masks, 2):
        shared = 0.96 - 0.02 * (a.source != b.source) - 0.03 * (a.origin != b.origin)
        common = {"a": a.name, "b": b.name, "weights": 10, "kept_in_both": 0.3, "jaccard_kept": 0.9}
        for layer, value in ((None, shared), ("model.layers.0", 0.5)):
            rows.append({**common, "layer": layer, "jaccard_pruned": value, "jaccard_pruned_by_chance": 0.428})
    write_table(path, pa.Table.from_pylist(rows, SCHEMA), {})
    return str(path)


@pytest.fixture
def inspections(tmp_path: Path) -> Inspections:
    """Two sources, real and generated; two seeds compared; nothing held out from generated news."""
    rng = np.random.default_rng(1)
    layers = []
    for source, origin in itertools.product(LABELS, ORIGINS):
        own, held = rng.uniform(0.2, 0.5, (2, DEPTH, 2))
        empty = (source, origin) == ("news", "synthetic")
        path = figures_file(tmp_path / f"{source}-{origin}.json", own, np.zeros((DEPTH, 0)) if empty else held)
        layers.append(LayerFile(source, origin, path, 0, MaskText(source, origin, 1)))
    masks = [
        MaskText(source, origin, seed, f"{source}-{origin}-s{seed}/wanda-0.6")
        for source, origin, seed in itertools.product(LABELS, ORIGINS, range(2))
    ]
    table = overlap_file(tmp_path / "overlap.parquet", masks)
    return Inspections("wanda", "0.6", tuple(layers), table, tuple(masks))


def entry(inspections: Inspections) -> dict[str, Any]:
    """The same as the index has it."""

    def text(mask: MaskText | None) -> dict[str, Any] | None:
        return None if mask is None else {"source": mask.source, "origin": mask.origin, "seed": mask.seed}

    return {
        "method": inspections.method,
        "sparsity": inspections.target,
        "layers": [
            {"source": x.source, "origin": x.origin, "seed": x.seed, "path": x.path, "heldout": text(x.heldout)}
            for x in inspections.layers
        ],
        "overlap": {
            "path": inspections.overlap,
            "masks": [{"name": mask.name, **(text(mask) or {})} for mask in inspections.masks],
        },
    }


def test_ratios_span_pairs_of_sequences(tmp_path: Path) -> None:
    own, held = np.array([[0.2, 0.4], [0.5, 0.5]]), np.array([[0.3, 0.9], [0.4, 0.6]])
    path = figures_file(tmp_path / "x.json", own, held)
    frame = read_layers(Inspections("wanda", "0.6", (LayerFile("web", "real", path, 0, MaskText("web", "real", 1)),)))
    assert frame["ratio"].to_list() == pytest.approx([0.6 / 0.3, 0.5 / 0.5])
    assert frame["ratio_low"].to_list() == pytest.approx([0.3 / 0.4, 0.4 / 0.5])
    assert frame["ratio_high"].to_list() == pytest.approx([0.9 / 0.2, 0.6 / 0.5])
    assert mean_ratio(frame) == pytest.approx(2**0.5)


def test_without_held_out_text_there_is_no_ratio(inspections: Inspections) -> None:
    frame = read_layers(inspections)
    assert len(frame) == 4 * DEPTH
    missing = frame.filter(pl.col("ratio").is_null())
    assert set(missing.select("source", "origin").iter_rows()) == {("news", "synthetic")}
    assert "Nothing was left to hold out for News, self-generated text." in heldout_words(frame, LABELS)
    assert ratio_words(missing) == ""


def test_words_name_the_source_that_was_held_out(inspections: Inspections) -> None:
    frame = read_layers(inspections)
    assert "another seed" in heldout_words(frame, LABELS)
    swapped = frame.with_columns(pl.when(pl.col("source") == "web").then(pl.lit("news")).alias("heldout_source"))
    words = heldout_words(swapped.filter(pl.col("source") == "web"), LABELS)
    assert words == "Held out is another source's text: News for Web."


def test_the_figure_shows_the_numbers(inspections: Inspections) -> None:
    frame = read_layers(inspections)
    figure = layer_figure(frame, LABELS)
    titles = [axes.get_title(loc="left") for axes in figure.axes[::2]]
    assert titles == ["Web", "News"]
    for row, source in enumerate(LABELS):
        errors, ratios = figure.axes[2 * row : 2 * row + 2]
        drawn = [list(map(float, np.asarray(line.get_ydata()))) for line in errors.get_lines()]
        for origin in ORIGINS:
            chosen = frame.filter((pl.col("source") == source) & (pl.col("origin") == origin))
            assert chosen["error_calibration"].to_list() in drawn
            if chosen["ratio"].null_count() == 0:
                assert chosen["error_heldout"].to_list() in drawn
                assert any(np.array_equal(line.get_ydata(), chosen["ratio"]) for line in ratios.get_lines())
        low, high = ratios.get_ylim()
        assert all(low < ratio < high for ratio in frame["ratio"].drop_nulls())


def test_a_study_without_held_out_text_has_one_column(inspections: Inspections) -> None:
    frame = read_layers(inspections).with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in ("error_heldout", "ratio", "ratio_low", "ratio_high")
    )
    assert len(layer_figure(frame, LABELS).axes) == len(LABELS)
    alone = frame.with_columns(pl.lit(None, pl.String).alias("heldout_source"))
    caption = layer_caption(alone, LABELS)
    assert caption.endswith("Where the study has no other such text, nothing is held out.")
    assert "Right" not in caption


def test_overlaps_are_means_over_pairs_of_masks(inspections: Inspections) -> None:
    frame = read_overlaps(inspections)
    assert len(frame) == 8 * 7 / 2
    means = mean_overlaps(frame)
    assert means[("web", "real"), ("web", "real")] == pytest.approx(0.96)
    assert means[("web", "real"), ("news", "synthetic")] == pytest.approx(0.91)
    assert all(means[a, b] == means[b, a] for a, b in means)
    assert overlap_words(frame) == (
        "Means: two seeds of one text 96.0 %, two sources' real text 94.0 %, two sources' self-generated text 94.0 %, "
        "a source's real and self-generated text 93.0 %, independent masks 42.8 %."
    )


def test_one_seed_leaves_the_diagonal_empty(inspections: Inspections) -> None:
    frame = read_overlaps(inspections).filter((pl.col("seed_a") == 0) & (pl.col("seed_b") == 0))
    means = mean_overlaps(frame)
    assert not any(a == b for a, b in means)
    assert "diagonal" not in overlap_caption(frame)
    assert "diagonal" in overlap_caption(read_overlaps(inspections))
    texts = [text.get_text() for text in overlap_figure(means, LABELS).axes[0].texts]
    assert len(texts) == 4 * 3
    assert {"94.0", "93.0", "91.0"} == set(texts)


def test_cells_stay_readable_on_a_dark_page(inspections: Inspections, tmp_path: Path) -> None:
    figure = overlap_figure(mean_overlaps(read_overlaps(inspections)), LABELS)
    inks = {str(text.get_color()) for text in figure.axes[0].texts}
    assert len(inks) == 2
    assert not inks & {style.INK, style.MUTED, style.PAPER, style.RULE}


def test_the_report_has_the_section(study: Any, inspections: Inspections, tmp_path: Path) -> None:
    index = {**study.index(), "inspections": entry(inspections)}
    parsed = parse_index(json.loads(json.dumps(index)))
    for output in ("one", "two"):
        summarize(parsed, tmp_path / output)
    page = (tmp_path / "one" / "index.html").read_text()
    assert 'href="#inside"' in page
    assert page.count("Inside the pruned model") == 1
    assert page.split('<section id="inside">')[1].split("</section>")[0].count("<svg") == 2
    assert "## Inside the pruned model" in (tmp_path / "one" / "summary.md").read_text()
    for name in ("layers", "overlap"):
        for suffix in (".svg", ".png", ".csv", ".parquet"):
            one, two = (tmp_path / output / "figures" / f"{name}{suffix}" for output in ("one", "two"))
            assert one.read_bytes() == two.read_bytes()


def test_without_inspections_the_figures_say_so(study: Any, tmp_path: Path) -> None:
    summarize(read_index(study.write()), tmp_path / "report")
    assert 'id="inside"' not in (tmp_path / "report" / "index.html").read_text()
    assert "Inside the pruned model" not in (tmp_path / "report" / "index.html").read_text()
    for name in ("layers", "overlap"):
        assert "nothing for this figure" in (tmp_path / "report" / "figures" / f"{name}.svg").read_text()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: {"rows": rows}, "is no list of decoder layers"),
        (lambda rows: [{"name": row["name"]} for row in rows], "measured on none"),
        (lambda rows: [{**r, "reconstruction_error": {"a": 0.1, "b": 0.2}} for r in rows], "measured on a, b"),
    ],
)
def test_files_of_another_kind_are_refused(inspections: Inspections, spoil: Callable[[Any], Any], message: str) -> None:
    path = Path(inspections.layers[0].path)
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=message):
        read_layers(inspections)


def test_masks_that_the_index_does_not_describe_are_refused(inspections: Inspections, study: Any) -> None:
    fewer = Inspections("wanda", "0.6", (), inspections.overlap, inspections.masks[1:])
    with pytest.raises(InputError, match=r"compares web-real-s0/wanda-0\.6, which the index does not list"):
        read_overlaps(fewer)
    raw = {**study.index(), "inspections": entry(inspections)}
    raw["inspections"]["layers"][0]["source"] = "poems"
    with pytest.raises(InputError, match="no run is calibrated on real text of poems"):
        parse_index(raw)
