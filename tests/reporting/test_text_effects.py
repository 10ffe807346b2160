"""How much the text matters, by target: one test, and the figure, the table and the sentence that show it."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from calibrant.reporting.figures.text_effects_figure import text_effects_data, text_effects_drawing
from calibrant.reporting.inference.conclusions import NO_PRUNING, judge_study
from calibrant.reporting.inference.decisions import Decisions
from calibrant.reporting.inference.statistics import holm
from calibrant.reporting.inference.text_effects import TextEffects, text_effects
from calibrant.reporting.inference.text_findings import by_target, target_names, weak_targets
from calibrant.reporting.pages.inputs import Inputs
from calibrant.reporting.pages.study_page import study_report
from calibrant.reporting.results.cells import Text
from calibrant.reporting.results.index import Index, Study
from calibrant.reporting.results.model_bits import FileBits, bits_of_file
from calibrant.reporting.results.numbers import two_digits
from calibrant.reporting.results.outcome import text_measure
from calibrant.reporting.results.result_frame import COLUMNS
from calibrant.reporting.results.samples import SCORES
from calibrant.reporting.results.study_results import StudyResults
from calibrant.reporting.tables.table import Column, parts
from calibrant.reporting.tables.text_effects_table import text_effects_table
from calibrant.scoring.corpus_similarity import SIMILARITY
from calibrant.scoring.item_contamination import CONTAMINATION

LEVEL = {"w8g64": 0.0004, "w4g64": 0.03, "w3g64": 0.16, "0.5": 0.35, "2:4": 0.9, "w2g64": 2.4}  # nats
MOVES = {"w8g64": 0.0, "w4g64": 0.0, "w3g64": 0.3, "0.5": 0.3, "2:4": 0.4, "w2g64": 0.6}  # of speech against web
RUN = {
    "wanda": ("0.5", "2:4"),
    "wrtn": ("w4g64", "w3g64", "w2g64"),
    "gptq": ("w8g64", "w4g64", "w3g64", "w2g64"),
}
METHOD = {"wanda": 0.0, "wrtn": 0.4, "gptq": 0.0}
TEXTS = {("web", "real"): 0.0, ("news", "real"): 0.2, ("news", "synthetic"): 0.5, ("speech", "real"): 1.0}
STUDY = Study("widths", "m", sources=(("web", "Web"), ("news", "News"), ("speech", "Speech")))
FILE = FileBits(4, "model.Q4_1.gguf")


def world(
    *,
    targets: tuple[str, ...] = tuple(LEVEL),
    seeds: int = 3,
    sd: float = 0.02,
    moves: Mapping[str, float] = MOVES,
    divergence: bool = True,
    seed: int = 0,
) -> pl.DataFrame:
    """Results of a study of which the divergence from the dense model is known; perplexity follows it."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    fixed = {"model": "m", "task": "fiction", "num_fewshot": 0, "split": "test", "n": 1000}

    def add(value: float, **cell: Any) -> None:
        rows.append({**fixed, **cell, "metric": "perplexity", "value": 20 * float(np.exp(value))})
        if divergence:
            rows.append({**fixed, **cell, "metric": "kl", "value": value})

    add(0.0, method="dense", sparsity="0")
    for target in targets:
        add(2 * LEVEL[target], method="rtn" if target.startswith("w") else "magnitude", sparsity=target)
    for method, run in RUN.items():
        for target in run:
            for (source, origin), share in TEXTS.items() if target in targets else ():
                setting = {"samples": 8} | ({"prefix_length": 4, "drop": 0.2} if origin == "synthetic" else {})
                for number in range(seeds):
                    value = METHOD[method] + moves[target] * share + sd * rng.standard_normal()
                    add(LEVEL[target] * float(np.exp(value)), method=method, sparsity=target, source=source,
                        origin=origin, seed=number, **setting)  # fmt: skip
    return pl.DataFrame(rows, schema=COLUMNS)


def effects_of(frame: pl.DataFrame) -> tuple[StudyResults, TextEffects]:
    data = StudyResults(frame, STUDY)
    found = text_effects(data, Decisions())
    assert found is not None
    return data, found


def sets_of(frame: pl.DataFrame, target: str, method: str, metric: str = "kl") -> dict[Text, np.ndarray]:
    """The values of each text straight from the frame."""
    here = frame.filter((pl.col("sparsity") == target) & (pl.col("method") == method) & (pl.col("metric") == metric))
    found = {}
    for source, origin in TEXTS:
        of_text = here.filter((pl.col("source") == source) & (pl.col("origin") == origin))
        row = of_text.row(0, named=True)
        text = Text(source, origin, row["samples"], row["prefix_length"], row["drop"])
        found[text] = of_text["value"].to_numpy()
    return found


def test_every_number_is_that_of_scipy_on_the_frame() -> None:
    frame = world()
    _, effects = effects_of(frame)
    assert effects.measure.kind == "divergence"
    raw = {}
    for (target, method), effect in effects.effects.items():
        groups = sets_of(frame, target, method)
        assert effect.means.keys() == groups.keys()
        assert effect.mean.mean == pytest.approx(np.mean([group.mean() for group in groups.values()]))
        logs = {text: 100 * np.log(group) for text, group in groups.items()}
        centres = {text: found.mean() for text, found in logs.items()}
        assert effect.moved.value == pytest.approx(max(centres.values()) - min(centres.values()))
        assert (effect.lowest, effect.highest) == (min(centres, key=centres.get), max(centres, key=centres.get))  # type: ignore[arg-type]
        assert effect.moved.deviation == pytest.approx(np.sqrt(np.mean([found.var(ddof=1) for found in logs.values()])))
        tukey = stats.tukey_hsd(*logs.values())
        ends = tukey.confidence_interval(0.95)
        pair = np.unravel_index(tukey.statistic.argmax(), tukey.statistic.shape)
        assert effect.moved.low == pytest.approx(max(0.0, ends.low[pair]), rel=1e-3)
        assert effect.moved.high == pytest.approx(ends.high[pair], rel=1e-3)
        raw[target, method] = tukey.pvalue[pair]
    for (place, effect), p in zip(effects.effects.items(), holm(list(raw.values())), strict=True):
        assert effect.decided.p_holm == pytest.approx(p, rel=1e-3, abs=1e-9)
        assert effect.differs == (p is not None and p < 0.05), place
    assert {t for (t, _), e in effects.effects.items() if e.differs} == {"w3g64", "0.5", "2:4", "w2g64"}


def test_targets_of_all_kinds_have_one_order() -> None:
    """The mean loss over the texts with the best method, of a frame that names them in another order."""
    targets = ("2:4", "w2g64", "w8g64", "0.5", "w4g64", "w3g64")
    _, effects = effects_of(world(targets=targets))
    assert effects.targets == ["w8g64", "w4g64", "w3g64", "0.5", "2:4", "w2g64"]
    assert {t: effects.plain[t].mean for t in targets} == pytest.approx({t: 2 * LEVEL[t] for t in targets})
    assert target_names(["w4g64", "0.5"]) == {"w4g64": "4 bits", "0.5": "50 % sparsity"}
    assert target_names(["w4g64", "w3"]) == {"w4g64": "4 bits, group 64", "w3": "3 bits"}
    assert target_names(["w4g64", "0.5+w4g64"])["0.5+w4g64"] == "50 % and 4 bits, group 64"


def test_what_is_said_of_widths_and_sparsities() -> None:
    _, effects = effects_of(world())
    said = by_target(effects, FILE)
    assert said.text == (
        "From 3 bits on (then 50 % sparsity, 2:4 sparsity and 2 bits), the choice of text moves the divergence from "
        "the dense model on fiction: by 30.4 % (95 % interval 24.6 to 36.2 %) at 3 bits with GPTQ and by 60.3 % (95 % "
        "interval 55.0 to 65.5 %) at 2 bits with GPTQ. At 8 bits and 4 bits no difference between texts was found; the "
        "95 % intervals end at 9.2 % or below. The model's weights come from a 4-bit file (model.Q4_1.gguf): what is "
        "seen at 8 bits and 4 bits says little about models whose weights do not."
    )
    assert said.hedge == (
        "The texts differ where the range of their means is too large for the luck of the draw, by the studentized "
        "range over sets, p < 0.05 after Holm's correction over 9 pairs of target and method. Ranges are of 4 texts, "
        "self-generated ones among them. Sets of one text have a standard deviation of 1.1 % to 2.2 %, which is the "
        "luck of the draw. Widths have a scale for each 64 columns."
    )


def test_what_is_said_of_sparsities_alone_and_of_single_sets() -> None:
    _, effects = effects_of(world(targets=("0.5", "2:4"), divergence=False))
    assert by_target(effects, FILE).text == (
        "At each target (50 % and 2:4 sparsity), the choice of text moves the perplexity on fiction: by 11.5 % (95 % "
        "interval 10.0 to 13.0 %) at 50 % sparsity with Wanda and by 47.5 % (95 % interval 42.8 to 52.1 %) at 2:4 "
        "sparsity with Wanda."
    )
    _, single = effects_of(world(targets=("0.5", "2:4"), seeds=1))
    assert by_target(single).text == "Here there is one set of each text, and nothing was tested."
    assert not any(effect.tested or effect.differs for effect in single.effects.values())
    _, calm = effects_of(world(targets=("w4g64", "w3g64"), moves=dict.fromkeys(MOVES, 0.0)))
    assert by_target(calm).text.startswith("At 4 bits and 3 bits no difference between texts was found; the 95 %")


def test_a_gap_in_the_order_is_told_as_it_is() -> None:
    """A milder target at which texts differ, and a harder one at which they do not: no `from ... on`."""
    _, effects = effects_of(world(targets=("w4g64", "0.5", "w2g64"), moves={**MOVES, "w4g64": 0.5, "0.5": 0.0}))
    text = by_target(effects).text
    assert text.startswith("At 4 bits and 2 bits, the choice of text moves")
    assert "At 50 % sparsity no difference between texts was found; the 95 % interval ends at" in text
    assert "From" not in text


def test_one_target_or_one_text_has_nothing_to_compare() -> None:
    assert text_effects(StudyResults(world(targets=("w3g64",)), STUDY), Decisions()) is None
    web = pl.col("source").eq_missing(pl.lit("web")) | pl.col("source").is_null()
    assert text_effects(StudyResults(world().filter(web), STUDY), Decisions()) is None
    drawing = text_effects_drawing("x", StudyResults(world(), STUDY), None, None)
    assert drawing.figure is None
    assert text_effects_table(StudyResults(world(), STUDY), None) == []


def test_the_divergence_is_taken_where_all_models_have_it() -> None:
    frame = world()
    lost = (pl.col("metric") == "kl") & (pl.col("sparsity") == "2:4") & pl.col("source").eq_missing(pl.lit("web"))
    measures = [text_measure(StudyResults(each, STUDY)) for each in (frame, frame.filter(~lost))]
    assert [m and (m.kind, m.key, m.unit_of_scores) for m in measures] == [
        ("divergence", "fiction_kl", "% of divergence"),
        ("perplexity", "fiction_perplexity", "% of perplexity"),
    ]
    accuracy = frame.with_columns(task=pl.lit("piqa"), metric=pl.lit("acc"), value=pl.lit(0.5))
    assert text_measure(StudyResults(accuracy.unique(["sparsity", "method", "source", "seed"]), STUDY)) is None


def test_a_divergence_of_zero_has_no_range() -> None:
    none = (pl.col("sparsity") == "w8g64") & (pl.col("metric") == "kl") & pl.col("source").is_not_null()
    frame = world().with_columns(value=pl.when(none).then(0.0).otherwise(pl.col("value")))
    _, effects = effects_of(frame)
    assert ("w8g64", "gptq") not in effects.effects
    assert "w8g64" not in effects.targets


def test_the_family_errs_no_more_often_than_it_may() -> None:
    """Studies in which no text differs: a false alarm anywhere in at most 5 of 100; more than 7 of 50 has p < 0.01."""
    calm = dict.fromkeys(MOVES, 0.0)
    frames = (world(targets=("0.5", "2:4"), moves=calm, seed=seed, divergence=False) for seed in range(50))
    alarms = [any(e.differs for e in effects_of(frame)[1].effects.values()) for frame in frames]
    assert sum(alarms) <= 7


def test_figure_table_and_sentence_have_the_same_decisions() -> None:
    frame = world()
    data, effects = effects_of(frame)
    drawing = text_effects_drawing("t", data, effects, FILE)
    assert drawing.figure is not None
    numbers = drawing.data
    assert numbers.equals(text_effects_data(effects))
    assert numbers.filter(pl.col("source").is_not_null()).height == sum(len(e.means) for e in effects.effects.values())
    ranges = {(r["sparsity"], r["method"]): r for r in numbers.filter(pl.col("source").is_null()).iter_rows(named=True)}
    (table,) = text_effects_table(data, effects, FILE)
    assert [s.heading for s in table.sections] == [
        "8 bits, group 64", "4 bits, group 64", "3 bits, group 64", "50 %", "2:4", "2 bits, group 64",
    ]  # fmt: skip
    keys = [c.key for c in table.columns]
    for target, section in zip(effects.targets, table.sections, strict=True):
        assert (section.rows[0].label, section.rows[0].role) == (
            "RTN" if "bits" in section.heading else "Magnitude",
            "baseline",
        )
        for method, row in zip(effects.at(target), section.rows[1:], strict=True):
            cells = dict(zip(keys, row.cells, strict=True))
            same = ranges[target, method]
            assert cells["range"] == same["range"]
            assert cells["p_holm"] == same["p_holm"]
            assert (cells["differ"] == "yes") == (same["p_holm"] < 0.05) == effects.at(target)[method].differs
    above, below = drawing.figure.axes
    marks = [t.get_text() for t in below.texts]
    assert marks == ["†"] * sum(effect.differs for effect in effects.effects.values())
    assert [t.get_text() for t in below.get_xticklabels()] == [
        "8 bits",
        "4 bits",
        "3 bits",
        "50 %\nsparsity",
        "2:4\nsparsity",
        "2 bits",
    ]
    assert above.get_yscale() == "log"
    # A grey ground behind the two targets that say little of other models, in both panels.
    shaded = [[p for p in axes.patches if p.get_width() == pytest.approx(1.0)] for axes in (above, below)]
    assert [sorted(p.get_x() for p in each) for each in shaded] == [[-0.5, 0.5]] * 2


def test_the_page_says_it_first_where_there_are_widths() -> None:
    empty = [pl.DataFrame(form.schema.empty_table()) for form in (SIMILARITY, CONTAMINATION)]
    sidecars = {("model", "model"): {"id": "x", "origin": {"member": "models/one.Q4_1.gguf"}}}
    frame = world(targets=("w4g64", "w2g64"))
    inputs = Inputs(Index(STUDY, ()), frame, pl.DataFrame(schema=SCORES), *empty, sidecars)  # type: ignore[arg-type]
    page = study_report(inputs, real_text=False, rows=0).page
    assert page.found[0].text.startswith("At 2 bits, the choice of text moves the divergence from the dense model")
    assert page.found[0].text.endswith(
        "The model's weights come from a 4-bit file (one.Q4_1.gguf): what is seen at 4 bits says little about models "
        "whose weights do not."
    )
    assert dict(page.facts)["Target"] == "4 bits, group 64; 2 bits, group 64"
    assert "sparsity" not in " ".join(s.text + s.hedge for s in page.found)
    # The paper's conclusions are about pruning: the study's own comparison stands in the place of the first.
    assert re.match(
        r"At 2 bits, group 64 \(Weighted RTN and GPTQ\), .* text that the model wrote itself", page.found[1].text
    )
    judged = judge_study(inputs.data)
    assert judged is not None
    assert {j.reason for j in judged.claims if not j.claim.from_scores} == {NO_PRUNING}
    assert {j.verdict for j in judged.claims} == {"undecided"}


@pytest.mark.parametrize(
    ("record", "model_id", "note", "expected"),
    [
        ({"origin": {"member": "llm/SmolLM2.Q4_1.gguf"}}, "x", "", FileBits(4, "SmolLM2.Q4_1.gguf")),
        ({"origin": {"member": "a.tar", "inner": "b/m-IQ3_XXS.gguf"}}, "x", "", FileBits(3, "m-IQ3_XXS.gguf")),
        ({"path": "m-q8_0.gguf"}, "x", "", FileBits(8, "m-q8_0.gguf")),
        ({"origin": {"member": "m-F16.gguf"}}, "x", "", None),
        ({"hub": "me/model-Q4", "id": "me/model-Q4"}, "me/model-Q4", "", None),
        ({}, "SmolLM2-135M-Instruct-Q4_1-dequantised", "", FileBits(4, "Q4_1")),
        ({}, "mine", "4-bit (Q4_1) weights, dequantised; not the hub checkpoint", FileBits(4, "Q4_1")),
        ({}, "mine", "instruction-tuned", None),
    ],
)  # fmt: skip
def test_the_bits_of_the_file_behind_a_model(
    record: dict[str, Any], model_id: str, note: str, expected: FileBits | None
) -> None:
    assert bits_of_file(record, model_id, note) == expected


def test_targets_as_wide_as_the_file_say_little() -> None:
    targets = ["0.5", "w8", "w4g64", "0.5+w4g64", "w3", "w2g64"]
    assert weak_targets(targets, FILE) == ["w8", "w4g64", "0.5+w4g64"]
    assert weak_targets(targets, FileBits(8, "m.Q8_0.gguf")) == ["w8"]
    assert weak_targets(targets, None) == []


def test_means_of_many_magnitudes_are_shown_by_their_deviation() -> None:
    _, effects = effects_of(world())
    column = Column("kl", "Divergence", "nats", 4, kind="spread", by_spread=True)
    shown = {t: parts(effects.at(t)["gptq"].mean, column) for t in ("w8g64", "w2g64")}
    for mean, addition in shown.values():
        assert len(re.sub(r"^[0.]+|\.", "", addition.removeprefix("± "))) == 2
        assert len(mean.partition(".")[2]) == len(addition.partition(".")[2])
    assert [two_digits(x) for x in (0.012, 0.0949, 1.5, 12.0, 340.0)] == [3, 3, 1, 0, 0]
