"""The whole stage: its files, their bytes, the page's markup, and the captions of Snakemake's report."""

import hashlib
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import polars as pl
import pytest
from page_check import check

from calibrant.artefacts.parquet import read_table
from calibrant.cli.main import main
from calibrant.reporting.figures import style
from calibrant.reporting.figures.distribution_figure import density
from calibrant.reporting.pages.render import every_block
from calibrant.reporting.pages.sections import FigurePlace
from calibrant.reporting.pages.summarize import summarize
from calibrant.reporting.results.index import read_index
from calibrant.reporting.results.samples import excerpts, read_pools, read_scores

ROOT = Path(__file__).resolve().parents[2]
FIGURES = (
    "performance",
    "differences",
    "perplexity",
    "min_k",
    "amount",
    "prefix",
    "layers",
    "overlap",
    "text_by_target",
)
TABLES = (
    "claims",
    "performance",
    "filtering",
    "differences",
    "differences_by_task",
    "documents",
    "data",
    "contamination",
    "similarity",
    "items",
    "experts",
    "experts_by_layer",
    "text_by_target",
)


@pytest.fixture
def small(make_study: Callable[..., Any]) -> Any:
    """Two sources at one sparsity: figures take their time."""
    return make_study(sources=("web", "news"), sparsities=("0.6",))


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_every_file_and_the_same_bytes_again(small: Any, tmp_path: Path) -> None:
    index = small.write()
    assert main(["summarize", "--results", str(index), "--output", str(tmp_path / "one")]) == 0
    assert main(["summarize", "--results", str(index), "--output", str(tmp_path / "two")]) == 0
    found = hashes(tmp_path / "one")
    expected = {"results.parquet", "results.csv", "summary.md", "index.html", "provenance.json"}
    expected |= {f"tables/{name}.{suffix}" for name in TABLES for suffix in ("md", "csv", "tex")}
    expected |= {f"figures/{name}.{suffix}" for name in FIGURES for suffix in ("svg", "png", "csv", "parquet")}
    assert set(found) == expected
    assert found == hashes(tmp_path / "two")
    for path in (tmp_path / "one").rglob("*"):  # neither this machine's paths nor a date
        if path.suffix in (".md", ".csv", ".tex", ".svg", ".html", ".json"):
            text = path.read_text()
            assert str(tmp_path) not in text
            assert not re.search(r"20\d\d-\d\d-\d\dT", text)
    table, metadata = read_table(tmp_path / "one" / "figures" / "performance.parquet")
    assert table.num_rows > 0
    assert metadata["figure"]


def test_page(small: Any, tmp_path: Path) -> None:
    summarize(read_index(small.write()), tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text()
    checker = check(text)
    assert {"svg", "title", "desc", "caption", "details"} <= checker.tags
    assert text.count("<svg") == 4
    assert "http://" not in re.sub(r'xmlns(:\w+)?="http://[^"]+"', "", text)
    # Text of samples is shown in full, as text.
    assert "web &amp; &lt;b&gt;synthetic&lt;/b&gt; row" in text
    assert "<b>synthetic</b>" not in text
    assert "What the calibration text is made of" in text
    assert "88 too short, 12 duplicate" in text
    for name in FIGURES:
        file = tmp_path / "out" / "figures" / f"{name}.svg"
        assert ElementTree.parse(file).getroot().tag.endswith("svg")
        assert "dc:date" not in file.read_text()


def test_real_text_can_be_left_out(small: Any, tmp_path: Path) -> None:
    index = small.write()
    output = tmp_path / "out"
    assert main(["summarize", "--results", str(index), "--output", str(output), "--no-real-text"]) == 0
    for path in output.rglob("*"):
        if path.suffix in (".html", ".md", ".csv", ".json"):
            assert "&lt;b&gt;real" not in path.read_text()
            assert "<b>real" not in path.read_text()
    assert "&lt;b&gt;synthetic" in (output / "index.html").read_text()


@pytest.mark.parametrize(
    "options",
    [
        {"seeds": 1, "sources": ("web", "speech")},
        {"sources": ("web",), "sparsities": ("2:4",)},
        {"origins": ("real",), "sparsities": ("0.6",)},
        {"methods": ("wanda", "owl"), "sources": ("web", "speech")},
    ],
)
def test_studies_of_other_shapes(make_study: Callable[..., Any], tmp_path: Path, options: dict[str, Any]) -> None:
    study = make_study(**options)
    page = summarize(read_index(study.write()), tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text()
    check(text)
    assert {block.name for block in every_block(page.sections) if isinstance(block, FigurePlace)} == set(FIGURES)
    drawn = set(re.findall(r'aria-labelledby="(\w+)-title', text))
    assert ("differences" in drawn) == ("synthetic" in study.origins)
    for name in (*TABLES, *FIGURES):
        folder, suffix = ("tables", ".md") if name in TABLES and name != "performance" else ("figures", ".svg")
        assert (tmp_path / "out" / folder / f"{name}{suffix}").stat().st_size > 0
    if options.get("methods"):
        assert "OWL, 60 %" in text


def test_only_runs(small: Any, tmp_path: Path) -> None:
    """The smallest index: no scores, no samples, no sidecars, methods without data only."""
    index = {"study": {"name": "x", "model": {"id": "m"}}, "runs": small.runs[:2]}
    path = tmp_path / "index.json"
    path.write_text(json.dumps(index))
    assert main(["summarize", "--results", str(path), "--output", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "index.html").read_text()
    check(text)
    assert "<svg" not in text
    assert "Read it yourself" not in text
    assert "nothing for this figure" in (tmp_path / "out" / "figures" / "min_k.svg").read_text()


def test_scores_from_the_command_line(small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = small.index()
    entries = index.pop("scores")
    path = tmp_path / "index.json"
    path.write_text(json.dumps(index))
    options = [f"--scores={e['source']}:{e['origin']}={e['path']}" for e in entries if e["origin"] == "synthetic"]
    output = str(tmp_path / "out")
    assert main(["summarize", "--results", str(path), *options, "--output", output]) == 0
    assert pl.read_csv(tmp_path / "out" / "figures" / "perplexity.csv").height == 2 * 40
    for wrong, message in [
        (["--scores", "web=x.parquet"], "--scores web=x.parquet: must be SOURCE:ORIGIN=FILE"),
        (["--rows=-1"], "--rows -1: must be at least 0"),
        (["--scores", "web:real=nowhere.parquet"], "nowhere.parquet: no such file"),
    ]:
        assert main(["summarize", "--results", str(path), *wrong, "--output", output]) == 2
        assert message in capsys.readouterr().err


def test_output_below_a_file(small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    index = str(small.write())
    assert main(["summarize", "--results", index, "--output", str(tmp_path / "file")]) == 2
    assert "is a file; give the name of a folder" in capsys.readouterr().err
    assert main(["summarize", "--results", index, "--output", str(tmp_path / "file" / "below")]) == 2
    assert "choose an output path below a folder" in capsys.readouterr().err


def test_excerpts_are_spread_over_the_ranks(study: Any) -> None:
    index = read_index(study.write())
    scores = read_scores(index.scores)
    found = excerpts(index.samples, scores, "news", "synthetic", 3)
    assert [e.rank for e in found] == ["7 of 40 by perplexity", "21 of 40 by perplexity", "34 of 40 by perplexity"]
    ranked = scores.filter((pl.col("source") == "news") & (pl.col("origin") == "synthetic")).sort("perplexity")
    assert [e.perplexity for e in found] == [ranked["perplexity"][i] for i in (6, 20, 33)]
    assert [e.sample_id for e in found] == [ranked["sample_id"][i] for i in (6, 20, 33)]
    assert found[0].text == f"news & <b>synthetic</b> row {found[0].sample_id}\nline two"
    real = excerpts(index.samples, scores, "news", "real", 2)
    assert [e.rank for e in real] == ["9 of 32 by perplexity", "25 of 32 by perplexity"]
    assert {e.seed for e in excerpts(index.samples, scores, "news", "real", 99)} == {0, 1}
    unscored = excerpts(index.samples, read_scores([]), "news", "synthetic", 2)
    assert [(e.sample_id, e.perplexity) for e in unscored] == [(0, None), (1, None)]


def test_pools_count_rows_and_ends(study: Any) -> None:
    pools = {(p.source, p.origin): p for p in read_pools(read_index(study.write()).samples)}
    generated, real = pools["web", "synthetic"], pools["web", "real"]
    assert (generated.rows, generated.tokens, generated.model_ends) == (40, 640, pytest.approx(0.8125))
    assert (real.sets, real.rows, real.model_ends) == (2, 32, None)


def test_density_is_a_density() -> None:
    import numpy as np

    values = np.random.default_rng(0).normal(0, 1, 60)
    grid = np.linspace(-8, 8, 2001)
    curve = density(values, grid)
    assert curve is not None
    assert curve.sum() * (grid[1] - grid[0]) == pytest.approx(1, abs=1e-3)
    assert density(values[:4], grid) is None
    assert density(np.ones(9), grid) is None


def test_inline_keeps_ids_apart() -> None:
    svg = (
        '<?xml version="1.0"?><svg width="72pt" height="36pt" viewBox="0 0 72 36"><g id="a" clip-path="url(#b)"/></svg>'
    )
    text = style.inline(svg, "one", "T <i>", "D & d")
    assert 'id="one-a"' in text
    assert "url(#one-b)" in text
    assert "T &lt;i&gt;" in text
    assert "height=" not in text


CAPTIONS = sorted((ROOT / "workflow" / "report").glob("*.rst"))


@pytest.mark.parametrize("path", CAPTIONS, ids=lambda p: p.name)
@pytest.mark.parametrize("config", [{}, None], ids=["empty", "study"])
@pytest.mark.parametrize("name", ["", "performance", "min_k", "items"])
def test_captions_are_clean_rest(path: Path, config: dict[str, Any] | None, name: str) -> None:
    """Captions render with a bare and with a full configuration, without one complaint of docutils."""
    from docutils.core import publish_parts

    full = {
        "study": "smollm2_135m", "sources": {"web": {}, "wikipedia": {}}, "texts": {"fiction": {}},
        "seeds": 2, "calibration": {"samples": 16, "length": 512, "packing": "stream"},
        "generation": {"samples": 40, "prefix_length": 4, "end_of_text": "suppress"},
        "filter": {"drop": 0.2}, "scoring": {"min_k": 50}, "model": {"id": "SmolLM2-135M-Instruct", "note": "4-bit *"},
        "grids": [{"methods": ["dense"]}, {"methods": ["wanda"], "sparsities": ["0.6", "2:4"]}],
    }  # fmt: skip
    snakemake = SimpleNamespace(config=full if config is None else config, wildcards={"name": name} if name else {})
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(path.read_text()).render(snakemake=snakemake)
    assert "None" not in text
    settings = {"report_level": 1, "halt_level": 1, "warning_stream": False}
    output = publish_parts(text, writer="html5", settings_overrides=settings)["html_body"]
    assert "system-message" not in output
    assert len(text.strip()) > 40


def test_there_are_captions() -> None:
    assert {"workflow.rst", "page.rst", "table.rst", "figure.rst"} <= {path.name for path in CAPTIONS}
