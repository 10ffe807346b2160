"""What stands below the first screen of an answer: what is lost elsewhere, candidates, how it was decided."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from calibrant.race.spoken import WORDS, better, worse
from calibrant.reporting.inference.observations import Statement
from calibrant.reporting.pages.answer_terms import UNITS, count, judging, lasting, share, target_words
from calibrant.reporting.pages.sections import Block, Heading, Pairs, Paragraph, Statements, TablePlace
from calibrant.reporting.pages.sections import Section as Part
from calibrant.reporting.results.numbers import DASH, number
from calibrant.reporting.results.race_candidates import per_cent, raced
from calibrant.reporting.tables.table import Column, Row, Section, Table

STATES = (
    "Leads: has the best mean. As good: surely within the margin of the best. May still be best: neither is sure. "
    "Worse: than the leader, for sure. Not the best: surely, so it was given no more sets. Refused: took no part."
)
BOUND = (
    "Every text was drawn from several times. Each set compressed the model once, and the result was measured on the "
    "same documents. The bound is what another text tried may at most be better than the leading one, with "
    "{confidence} confidence: the statement is made so that it is wrong in at most {wrong} races, however often the "
    "race was looked at and whichever text leads. It counts that sets of one text differ and that few documents "
    "judged. It says nothing of texts that were not tried."
)
STAGES = {"prune": "compressing the model", "evaluate": "measuring the results", "sample": "drawing sets",
          "generate": "writing text by the model", "score": "scoring text"}  # fmt: skip


def below(facts: Mapping[str, Any]) -> list[Part]:
    """The sections, in their order; the texts stand between them in the template."""
    return [
        Part("guards", "Elsewhere", "What is lost elsewhere", _guards(facts)),
        Part("candidates", "Texts tried", "All texts that were tried", _candidates(facts)),
        Part("decided", "How it was decided", "How it was decided", _decided(facts)),
        Part("time", "Time", "Time spent", _time(facts)),
    ]


def _guards(facts: Mapping[str, Any]) -> list[Block]:
    guards = facts["guards"]
    if not guards:
        later = "Other texts and tasks are measured when the race has ended." if not facts["stopped"] else ""
        return [Paragraph(later or "No other text or task was named to be watched (guard), so this is not known.")]
    reference = facts["reference"]
    columns = [
        Column("measure", "Measure", kind="text"),
        Column("dense", "Not compressed"),
        Column("chosen", "With this set"),
        *([Column("reference", f"With {reference}"), Column("change", "Change", "95 % interval", kind="text")]
          if reference else []),
    ]  # fmt: skip
    rows = [
        Row(
            each["name"],
            [
                f"{each['measure']}{', ' + each['unit'] if each['unit'] else ''}",
                *(_plain(each[key]) for key in ("dense", "chosen")),
                *([_plain(each["reference"]), _change(each)] if reference else []),
            ],
        )
        for each in guards
    ]
    beside = f" and with those of {reference}, which is used today" if reference else ""
    caption = (
        f"Texts and tasks that took no part in the choice, measured with the set handed over{beside}. What suits one "
        "purpose may cost others: this is where it shows."
    )
    return [TablePlace(Table("What is watched", caption, "Text or task", columns, [Section("", rows)]))]


def _change(guard: Mapping[str, Any]) -> str:
    change, low, high = guard["change"], guard["low"], guard["high"]
    if change is None:
        return DASH
    if low is None or high is None:
        return f"{_side(change)}, without an interval"
    if low <= 0 <= high:
        return f"no difference is sure ({worse(-low)} worse to {better(high)} better)"
    ends = f"{better(low)} to {better(high)}" if change > 0 else f"{worse(-high)} to {worse(-low)}"
    return f"{_side(change)} ({ends})"


def _side(change: float) -> str:
    return f"{better(change)} better" if change >= 0 else f"{worse(-change)} worse"


def _candidates(facts: Mapping[str, Any]) -> list[Block]:
    found = raced(facts)
    columns = [
        Column("state", "State", kind="text"),
        Column("sets", "Sets", "measured / there are"),
        Column("worse", "Worse than the leader", "%", decimals=1, signed=True),
        Column("interval", "Interval", "%, 95 %"),
        Column("value", "Measured", "mean of its sets"),
    ]
    rows = [
        Row(
            each.name,
            [
                ": ".join(filter(None, [each.said or "measured", each.reason])),
                f"{each.sets} / {each.available}",
                each.worse,
                _interval(each.low, each.high),
                _plain(each.value),
            ],
        )
        for each in found
    ]
    sections = [Section("", rows)]
    if facts["baseline"]:
        value = _plain(facts["baseline"]["value"])
        sections.append(
            Section("", [Row(f"{facts['baseline']['name']}, without any text", [None, None, None, None, value])])
        )
    return [TablePlace(Table("Texts that were tried, best first", STATES, "Text", columns, sections))]


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return DASH
    return f"{number(low, 1, True)} to {number(high, 1, True)}"


def _plain(value: float | None) -> str:
    if value is None:
        return DASH
    return number(value, max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0)


def _decided(facts: Mapping[str, Any]) -> list[Block]:
    confidence = share(facts["confidence"])
    whole = sum(each["weight"] for each in facts["purposes"])
    purposes = "; ".join(
        f"{each['name']} ({each['kind']}, weight {share(each['weight'] / whole)}): {_halves(each)}"
        for each in facts["purposes"]
    )
    pairs = [
        ("Model", facts["model"]),
        ("Compression", target_words(facts)),
        ("Judged on", purposes),
        ("Measure", f"{WORDS[measure]} ({measure})" if (measure := facts["measure"]) in WORDS else measure),
        ("Margin", f"{share(facts['margin'])}: smaller differences count as none"),
        ("A set", f"{facts['samples']:,} passages of {facts['length']:,} tokens"),
        ("Measured", f"{count(facts['sets'], 'set')} in {count(facts['rounds'], 'round')}, "
                     f"of at most {facts['budget'][-1]:,}"),
        ("Numbers computed in", facts["dtype"]),
    ]  # fmt: skip
    told = BOUND.format(confidence=confidence, wrong=f"{round(100 * (1 - facts['confidence']))} of 100")
    blocks: list[Block] = [Paragraph(told), Pairs(pairs)]
    if facts["looks"]:
        blocks.append(TablePlace(_looks(facts)))
    if facts["notes"]:
        blocks += [Heading("To be noted"), Statements([Statement(note) for note in facts["notes"]])]
    return blocks


def _halves(purpose: Mapping[str, Any]) -> str:
    """How much of a text or task chose, and how much took no part; before anything is measured, neither is known."""
    if purpose["selection"] is None:
        return "one half to choose by, the other to test the choice"
    others = "the other half" if purpose["test"] is None else f"{purpose['test']:,} others"
    return f"{count(purpose['selection'], UNITS[purpose['kind']])} to choose by, {others} to test the choice"


def _looks(facts: Mapping[str, Any]) -> Table:
    columns = [
        Column("leader", "Leads", kind="text"),
        Column("bound", "Bound", "%"),
        Column("expected", "Expected to be missed", "%"),
        Column("as_good", "As good", kind="text"),
    ]
    rows = [
        Row(
            f"{look['sets']:,} sets",
            [
                look["leader"],
                DASH if look["bound"] is None else number(-per_cent(-look["bound"]), 1),
                DASH if look["expected"] is None else number(per_cent(look["expected"]), 1),
                ", ".join(look["as_good"]) or None,
            ],
        )
        for look in facts["looks"]
    ]
    caption = f"Each time that something was claimed, by what was measured on {judging(facts)} until then."
    return Table("Looks", caption, "After", columns, [Section("", rows)])


def _time(facts: Mapping[str, Any]) -> list[Block]:
    timing = facts["timing"]
    if not timing:
        return []
    seconds: Mapping[str, float] = timing["seconds"]
    pairs: Sequence[tuple[str, str]] = [
        (STAGES.get(stage, stage), lasting(spent))
        for stage, spent in sorted(seconds.items(), key=lambda each: -each[1])
    ]
    words = (
        f"{count(timing['jobs'], 'job')} on {count(timing['cores'], 'processor core')} took "
        f"{lasting(sum(seconds.values()))} together; jobs that ran side by side are counted one by one."
    )
    return [Paragraph(words), Pairs(pairs)]
