"""The page of an answer says what the race found: the first screen in words, and what stands below it."""

import copy
import html
import json
import re
from typing import Any

import numpy as np
import pytest
from page_check import check, check_markdown

from calibrant.race.spoken import OPENINGS, by_question, on_test_half, sentences
from calibrant.race.standing import ALIKE, BUDGET, ONE_LEFT, Difference, Standing
from calibrant.reporting.figures.race_figure import race_drawing
from calibrant.reporting.pages.answer_page import answer_page, answer_summary
from calibrant.reporting.pages.answer_snippets import snippets
from calibrant.reporting.results.race_candidates import raced

Facts = dict[str, Any]


def candidate(name: str, state: str, values: list[float], **more: Any) -> Facts:
    """A candidate judged by divergence; `low` and `high` as given."""
    mean = float(np.log(values).mean()) if values else None
    known = {"name": name, "text": name, "origin": "real", "options": {}, "available": 20, "sets": len(values)}
    return {**known, "mean": mean, "low": None, "high": None, "values": values, "state": state, "reason": "", **more}


def stand(**more: Any) -> Standing:
    """What the last look of `facts` says."""
    usual: Facts = {
        "leader": "web",
        "candidates": 4,
        "bound": 0.031,
        "expected": 0.004,
        "as_good": ("web",),
        "out": ("speech",),
        "worse": ("speech",),
        "indifferent": 0.3,
        "gain": Difference(0.03, 0.002, 0.06),
        "stopped": BUDGET,
        "reason": "",
    }
    return Standing(**{**usual, **more})


@pytest.fixture
def facts() -> Facts:
    """A race that ended with its budget: web leads, wiki is the reference, speech is out, tiny was refused."""
    return {
        "study": "answer",
        "model": "SmolLM2-135M",
        "method": "wanda",
        "target": "0.6",
        "dtype": "float32",
        "samples": 8,
        "length": 512,
        "measure": "kl",
        "margin": 0.01,
        "confidence": 0.95,
        "purposes": [{"name": "manual", "kind": "text", "weight": 1.0, "selection": 27, "test": 26}],
        "candidates": [
            candidate("speech", "out", [0.69, 0.70], low=0.1, high=0.2),
            candidate("web", "leader", [0.61, 0.60, 0.62, 0.59]),
            candidate("wiki", "open", [0.62, 0.63], low=-0.004, high=0.06),
            candidate("tiny", "refused", [], reason="has text for 0 sets of 8 x 512 tokens, and 2 are needed"),
        ],
        "baseline": {"name": "magnitude", "value": 3.1},
        "looks": [
            {"sets": 6, "leader": "web", "bound": 0.12, "expected": 0.02, "as_good": ["web"]},
            {"sets": 8, "leader": "web", "bound": 0.031, "expected": 0.004, "as_good": ["web"]},
        ],
        "rounds": 2,
        "sets": 8,
        "budget": [8],
        "stopped": "budget",
        "sentences": sentences(stand(), "wiki", {24: 0.0104}),
        "forecast": {"sets": 24, "bound": 0.0104, "hours": 1.1},
        "reference": "wiki",
        "chosen": {"candidate": "web", "text": "web", "origin": "real", "options": {}, "number": 3, "value": 0.59},
        "test": {"value": 0.60, "reference": 0.63, "gain": 0.048, "low": 0.01, "high": 0.086, "documents": 26},
        "guards": [
            {"name": "fiction", "kind": "text", "measure": "perplexity", "unit": "", "dense": 20.1, "chosen": 101.2,
             "reference": 98.0, "change": -0.032, "low": -0.06, "high": -0.004},
            {"name": "arc_easy", "kind": "task", "measure": "acc", "unit": "%", "dense": 49.8, "chosen": 37.5,
             "reference": 37.0, "change": 0.013, "low": -0.03, "high": 0.056},
        ],
        "kept_out": [{"source": "web", "documents": 2, "of": 1500, "judging": "manual", "share": 0.7}],
        "notes": ["there is no part of its own to calibrate on"],
        "texts": [{"candidate": "web", "rows": ["The pump must be primed.", "Open the valve."]}],
        "timing": {"seconds": {"prune": 812.0, "evaluate": 901.0}, "jobs": 48, "cores": 2},
    }  # fmt: skip


def running(facts: Facts) -> Facts:
    """The same race before it ended, after its first look."""
    early = stand(bound=0.12, expected=0.02, stopped="", worse=(), gain=Difference(0.03, -0.02, 0.08))
    return {
        **copy.deepcopy(facts),
        "stopped": "",
        "looks": facts["looks"][:1],
        "sets": 6,
        "sentences": sentences(early, "wiki"),
        **dict.fromkeys(("chosen", "test", "forecast", "timing")),
        "guards": [],
        "texts": [],
    }


def words(page: str) -> str:
    """What a page says, without its markup, styles and picture."""
    text = re.sub(r"<(title|style|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def said(facts: Facts) -> tuple[str, str]:
    """First screen and all below it, of a page that is well-formed; the summary says the same as the first screen."""
    page = answer_page(facts)
    check(page)
    first, rest = page.split("<main>")
    told, summary = words(first), answer_summary(facts)
    check_markdown(summary)
    for line in summary.splitlines():
        for sentence in re.split(r"\*\*|(?<=[.?]) ", line.lstrip("#- ")):
            if sentence and not sentence.startswith(("SmolLM2", "The set", "Taken out")):
                assert sentence.strip(" .") in told
    return told, words(rest)


def test_the_first_screen_is_the_answer(facts: Facts) -> None:
    first, _ = said(facts)
    order = [
        "Calibrate on web",
        "Use the file set.parquet: 8 passages of 512 tokens from web (real text), set number 3, the best of 4 sets "
        "drawn.",
        "It is 4.7 % better than wiki, which is used today, on text that took no part in the choice (95 % interval: "
        "1.0 % to 8.2 %).",
        "Take web: with 95 % confidence nothing tried is more than 3.1 % better in divergence from the dense model.",
        "No other is surely within 1 % of the best. Undecided, neither as good nor worse for sure: wiki. "
        "Worse: speech.",
        "Another 24 sets would bring the bound to about 1.1 %. They take about 66 minutes.",
        "Not settled to within the margin of 1 %: the budget ended first.",
        "On average such a choice is about 0.40 % worse than the best text tried.",
        "All of them are about what is like manual: 27 documents decided.",
        "set.parquet beside this page",
        "2 of 1,500 documents of web (manual)",
        "calibrant prune",
        "oneshot(",
        "load_from_disk(",
    ]
    places = [first.find(sentence) for sentence in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)
    assert "Against wiki" not in first  # the test half answers that


def test_below_stand_guards_texts_and_how_it_was_decided(facts: Facts) -> None:
    _, below = said(facts)
    assert "fiction perplexity 20.1 101 98.0 3.3 % worse (0.40 % to 6.2 %)" in below
    assert "arc_easy acc, % 49.8 37.5 37.0 no difference is sure (3.0 % worse to 5.4 % better)" in below
    assert "refused: has text for 0 sets of 8 x 512 tokens, and 2 are needed" in below
    assert "magnitude, without any text" in below
    assert re.search(r"web leads 4 / 20 0\.0 – 0\.605 wiki may still be best 2 / 20 \+3\.3 −0\.4 to \+6\.2", below)
    assert "The pump must be primed." in below
    assert "manual (text, weight 100 %): 27 documents to choose by, 26 others to test the choice" in below
    assert "there is no part of its own to calibrate on" in below
    assert "48 jobs on 2 processor cores took 29 minutes together" in below


def test_a_gain_that_is_not_sure_is_no_gain(facts: Facts) -> None:
    facts["test"] |= {"low": -0.02}
    first, _ = said(facts)
    assert "Whether it is better than wiki, which is used today, is not decided" in first
    assert "between 2.0 % worse and 8.2 % better (95 % interval)" in first
    assert "4.7 % better" not in first


def test_a_set_that_is_worse_than_what_is_used_today_is_told_so(facts: Facts) -> None:
    facts["test"] |= {"gain": -0.05, "low": -0.08, "high": -0.02}
    assert "It is 5.1 % worse than wiki, which is used today" in said(facts)[0]
    assert "(95 % interval: 2.0 % to 8.3 %)" in said(facts)[0]
    wide = on_test_half("wiki", Difference(0.1, -3.0, 3.2), own=False)
    assert wide.startswith("Nothing can be said against wiki")


def test_without_a_reference_nothing_is_compared(facts: Facts) -> None:
    facts |= {"reference": None, "sentences": sentences(stand(gain=None)), "guards": []}
    facts["test"] |= dict.fromkeys(("reference", "gain", "low", "high"))
    first, below = said(facts)
    assert "No reference was named, so nothing is compared with what is used today." in first
    assert "No other text or task was named to be watched" in below


def test_the_reference_may_lead(facts: Facts) -> None:
    facts |= {"reference": "web", "sentences": sentences(stand(gain=None), "web")}
    first, _ = said(facts)
    assert "Keep calibrating on web" in first
    assert "web is what is used today. It is 4.7 % better than the average set of web" in first


def test_a_set_of_a_text_that_is_as_good_says_why(facts: Facts) -> None:
    facts["looks"][-1] |= {"bound": 0.008, "as_good": ["web", "wiki"]}
    facts["candidates"][2]["state"] = "as good"
    facts["chosen"] |= {"candidate": "wiki", "text": "wiki", "origin": "synthetic", "options": {"owl.lambda": "0.05"}}
    told = stand(bound=0.008, as_good=("web", "wiki"), stopped=ALIKE, candidates=2, indifferent=0.009)
    facts |= {"reference": None, "stopped": "alike", "sentences": sentences(told), "forecast": None}
    first, _ = said(facts)
    assert "It does not matter, by at most 0.91 %" in first
    assert "text that the model wrote itself from beginnings of wiki, to be used with owl.lambda = 0.05" in first
    assert "the best of 6 sets of the texts that are as good as each other" in first
    assert "The mean of web is better, but by less than the margin." in first
    assert "As good within the margin: wiki. The margin is 1 %." in first
    assert "Nothing that matters: it is settled to within 1 %." in first
    assert "Settled: several texts may be the best" in first
    assert "--option owl.lambda=0.05" in first


def test_a_running_race_says_so_first(facts: Facts) -> None:
    facts["candidates"].append(candidate("news", "open", []))
    first, below = said(running(facts))
    start = (
        "Still running: what stands here is provisional. Measured so far: 6 of at most 8 sets. Not yet measured: news."
    )
    assert first.index(start) < first.index("So far: calibrate on web")
    assert "nothing tried is more than 11.4 % better" in first
    assert "Against wiki no difference is sure" in first
    assert "On text that takes no part in the choice it is measured at the end." in first
    assert "set.parquet is written when the race ends" in first
    assert "calibrant prune" not in first
    assert "measured when the race has ended" in below


def test_before_the_first_look_nothing_is_claimed(facts: Facts) -> None:
    early = running(facts) | {"looks": [], "sentences": [], "sets": 4}
    for each in early["candidates"]:
        each |= {"low": None, "high": None, "state": "refused" if each["state"] == "refused" else "open"}
    early["candidates"][0] |= {"sets": 0, "mean": None, "values": []}
    first, below = said(early)
    assert "So far: calibrate on web" in first
    assert "web did best so far, of 2 texts measured. Nothing is claimed yet about how sure that is." in first
    assert "Not yet measured: speech." in first
    assert "% confidence" not in first
    assert "web best so far" in below
    nothing = early | {"sets": 0}
    for each in nothing["candidates"]:
        each |= {"sets": 0, "mean": None, "values": []}
    first, _ = said(nothing)
    assert "No answer yet" in first
    assert race_drawing(nothing).figure is None


def test_a_bound_that_is_not_known_is_not_told(facts: Facts) -> None:
    facts["looks"] = [{"sets": 8, "leader": "web", "bound": None, "expected": None, "as_good": ["web"]}]
    facts["sentences"] = sentences(stand(reason="only 6 documents judge"), "wiki")
    facts["forecast"] = {"sets": 24, "bound": None, "hours": 1.1}
    first, _ = said(facts)
    assert "Take web: it did best so far. How sure that is cannot be said: only 6 documents judge." in first
    assert "Not known: nothing can be claimed yet." in first
    assert "What another 24 sets would bring cannot be said." in first
    assert "nothing tried is more than" not in first


def test_several_purposes_and_tasks(facts: Facts) -> None:
    facts["purposes"] = [
        {"name": "manual", "kind": "text", "weight": 1.0, "selection": 27, "test": 26},
        {"name": "arc_easy", "kind": "task", "weight": 3.0, "selection": 200, "test": 190},
    ]
    for each in facts["candidates"]:
        each["values"] = [None] * each["sets"]
    facts["baseline"]["value"] = None
    first, below = said(facts)
    assert "on manual and arc_easy the compressed model predicts more like the dense model" in first
    assert "27 documents and 200 items decided" in first
    assert "arc_easy (task, weight 75 %): 200 items to choose by, 190 others" in below
    assert all(not each.dots for each in raced(facts))


def test_a_metric_of_a_task_counts_the_other_way(facts: Facts) -> None:
    facts["purposes"] = [{"name": "arc_easy", "kind": "task", "weight": 1.0, "selection": 200, "test": 190}]
    facts["measure"] = "acc"
    for each, value in zip(facts["candidates"], (0.30, 0.40, 0.38), strict=False):
        each |= {"values": [value] * each["sets"], "mean": -float(np.log(value))}
    first, _ = said(facts)
    assert "more of arc_easy is answered right (acc)" in first
    order = raced(facts)
    assert [each.name for each in order] == ["web", "wiki", "speech", "tiny"]
    assert order[1].worse == pytest.approx(100 * (0.40 / 0.38 - 1))
    assert order[1].dots == pytest.approx([order[1].worse] * 2)


def test_names_are_text_and_never_markup(facts: Facts) -> None:
    name = '<img src="x"> & $5'
    text = json.dumps(facts).replace('"web"', json.dumps(name))
    spiked = json.loads(text)
    spiked["sentences"] = sentences(stand(leader=name, as_good=(name,)), "wiki")
    spiked["texts"][0]["rows"] = ["</div><script>alert(1)</script>"]
    page = answer_page(spiked)
    tags = check(page).tags
    assert "img" not in tags
    assert f"Calibrate on {name}" in html.unescape(page)
    assert "<script>alert(1)</script>" in html.unescape(page)


def test_the_same_facts_give_the_same_bytes(facts: Facts) -> None:
    assert answer_page(facts) == answer_page(copy.deepcopy(facts))
    assert answer_summary(facts) == answer_summary(copy.deepcopy(facts))


def test_every_sentence_of_a_race_has_its_question() -> None:
    kinds = [
        stand(),
        stand(bound=0.0, stopped=ONE_LEFT),
        stand(bound=2.0, gain=Difference(0.0, -2.0, 2.0), stopped=""),
        stand(reason="only 6 documents judge"),
        stand(as_good=("web", "wiki"), candidates=2, stopped=ALIKE, worse=()),
    ]
    seen = set()
    for each in kinds:
        for reference in ("wiki", "web", None):
            told = sentences(each, reference, {24: 0.01})
            found = by_question(told)
            assert list(found.values()) == told
            assert set(found) <= set(OPENINGS)
            seen |= set(found)
    assert seen == set(OPENINGS)


def test_the_picture_shows_the_numbers(facts: Facts) -> None:
    drawing = race_drawing(facts)
    assert drawing.figure is not None
    assert drawing.data["candidate"].to_list() == ["web", "wiki", "speech"]
    left, right = drawing.figure.axes
    assert [text.get_text().split("\n")[0] for text in left.get_yticklabels()] == ["web", "wiki", "speech"]
    assert right.get_lines()[0].get_xdata().tolist() == [6, 8]
    bounds = np.asarray(right.get_lines()[0].get_ydata(), dtype=float)
    assert bounds == pytest.approx([100 * (1 - np.exp(-0.12)), 100 * (1 - np.exp(-0.031))])
    assert "wiki, may still be best, 2 sets, 3.32 % worse" in drawing.description


def test_many_candidates_and_one_far_off_stay_readable(facts: Facts) -> None:
    facts["candidates"] += [
        candidate(f"a text with a long name, number {n}", "open", [0.62, 0.63 + 0.001 * n], low=-0.01, high=0.07)
        for n in range(20)
    ]
    facts["candidates"].append(candidate("broken", "out", [60.0, 70.0], low=4.0, high=5.0))
    drawing = race_drawing(facts)
    assert drawing.figure is not None
    assert "The best 10 of 24 are drawn." in drawing.caption
    assert drawing.figure.axes[0].get_xlim()[1] < 30
    few = race_drawing({**facts, "candidates": [facts["candidates"][1], facts["candidates"][-1]]})
    assert few.figure is not None
    assert "→" in few.figure.axes[0].texts[0].get_text()


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("wanda", "0.6", ["WandaPruningModifier", "sparsity=0.6", 'mask_structure="0:0"']),
        ("sparsegpt", "2:4", ["SparseGPTModifier", "sparsity=0.5", 'mask_structure="2:4"']),
        ("ria", "1:4", ["WandaPruningModifier", "sparsity=0.75", 'mask_structure="3:4"', "has no ria"]),
        ("owl", "0.7", ["WandaPruningModifier", "has no owl that works"]),
    ],
)
def test_snippets_are_code_for_method_and_target(facts: Facts, method: str, target: str, expected: list[str]) -> None:
    facts |= {"method": method, "target": target}
    facts["chosen"]["options"] = {"owl.lambda": "0.05"}
    (_, command), (_, compressor), (_, rows) = snippets(facts)
    assert f"--method {method} --sparsity {target}" in command.replace(" \\\n    ", " ")
    for code in (compressor, rows):
        compile(code, "snippet", "exec")
    assert [each for each in expected if each not in compressor] == []
