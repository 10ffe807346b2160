"""The first screen of an answer in words, for the page and the summary alike; what is sure is said by `race.spoken`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calibrant.race.spoken import by_question, more_sets, on_test_half
from calibrant.race.standing import ALIKE, BUDGET, ONE_LEFT, Difference
from calibrant.reporting.pages.answer_terms import (
    count,
    described,
    few,
    judged,
    judging,
    lasting,
    means,
    share,
    target_words,
)
from calibrant.reporting.results.race_candidates import leader_of

SET = "set.parquet"
SURE = {
    ONE_LEFT: "Settled: one text is left, and nothing tried is better by more than the margin of {margin}.",
    ALIKE: "Settled: several texts may be the best, but none is better by more than the margin of {margin}.",
    BUDGET: "Not settled to within the margin of {margin}: the budget ended first.",
    "": "Nothing is final while the race is running.",
}
Said = Mapping[str, str]  # sentences by their questions (`spoken.by_question`)


@dataclass(frozen=True)
class Screen:
    """What the first screen says.

    Attributes:
        kicker: what was raced for.
        title: the answer in a few words.
        running: why it is provisional; "" at the end.
        lede: which set, and what it is worth against the reference.
        means: what "better" means.
        rows: questions and their answers.
        file: where the set lies.
        kept_out: what of the judging text was found in sources.
    """

    kicker: str
    title: str
    running: str
    lede: Sequence[str]
    means: str
    rows: Sequence[tuple[str, str]]
    file: str
    kept_out: str


def screen(facts: Mapping[str, Any]) -> Screen:
    """The first screen of a race, ended or running."""
    said = by_question(facts["sentences"])
    name = subject(facts)
    alike = [said["alike"]] if "alike" in said else []
    return Screen(
        f"{facts['model']}, {target_words(facts)}",
        _title(facts, name),
        _running(facts),
        [*alike, *_which(facts, name), *_against(facts, said, name)],
        means(facts),
        _rows(facts, said) if facts["looks"] and "take" in said else _rows_before_a_look(facts),
        f"{SET} beside this page; the same lies in set.jsonl, set.txt and dataset/" if facts["chosen"] else "",
        _kept_out(facts),
    )


def subject(facts: Mapping[str, Any]) -> str | None:
    """The candidate that the answer is about."""
    return str(facts["chosen"]["candidate"]) if facts["chosen"] else leader_of(facts)


def _title(facts: Mapping[str, Any], name: str | None) -> str:
    if name is None:
        return "No answer yet"
    if not facts["stopped"]:
        return f"So far: calibrate on {name}"
    return f"Keep calibrating on {name}" if name == facts["reference"] else f"Calibrate on {name}"


def _running(facts: Mapping[str, Any]) -> str:
    if facts["stopped"]:
        return ""
    missing = [each["name"] for each in facts["candidates"] if not each["sets"] and each["state"] != "refused"]
    waiting = f" Not yet measured: {few(missing)}." if missing else ""
    return (
        f"Still running: what stands here is provisional. Measured so far: {facts['sets']} of at most "
        f"{count(facts['budget'][-1], 'set')}.{waiting}"
    )


def _which(facts: Mapping[str, Any], name: str | None) -> list[str]:
    """Which set to use, or which text did best where nothing is claimed yet."""
    chosen, leader = facts["chosen"], leader_of(facts)
    if chosen is None:
        measured = sum(each["mean"] is not None for each in facts["candidates"])
        if facts["looks"] or not measured:
            return []
        best = f"did best so far, of {measured} texts measured" if measured > 1 else "is the only text measured so far"
        return [f"{name} {best}. Nothing is claimed yet about how sure that is."]
    as_good = {name, *(facts["looks"][-1]["as_good"] if facts["looks"] else ())}
    sets = sum(each["sets"] for each in facts["candidates"] if each["name"] in as_good)
    drawn = f"{sets} sets of the texts that are as good as each other" if len(as_good) > 1 else f"{sets} sets drawn"
    best = f", the best of {drawn}" if sets > 1 else ""
    leads = f" The mean of {leader} is better, but by less than the margin." if name != leader else ""
    size = f"{count(facts['samples'], 'passage')} of {facts['length']:,} tokens"
    which = f"set number {chosen['number']}{best}"
    return [f"Use the file {SET}: {size} from {described(chosen)}, {which}.{leads}"]


def _against(facts: Mapping[str, Any], said: Said, name: str | None) -> list[str]:
    """What it is worth against what is used today: on untouched text, where that is measured."""
    reference, test = facts["reference"], facts["test"]
    if name is None:
        return []
    if reference is None:
        return ["No reference was named, so nothing is compared with what is used today."]
    if test is not None and test["gain"] is not None:
        own = facts["chosen"] is not None and name == reference
        today = [said["reference"]] if own and "reference" in said else []
        gain = Difference(test["gain"], test["low"], test["high"])
        return [" ".join([*today, on_test_half(reference, gain, own=own)])]
    if "reference" not in said:
        return [f"How it compares with {reference}, which is used today, is not known yet."]
    when = "is measured at the end" if not facts["stopped"] else "was not measured"
    return [f"{said['reference']} On text that takes no part in the choice it {when}."]


def _rows(facts: Mapping[str, Any], said: Said) -> list[tuple[str, str]]:
    return [
        ("The bound: could another be better?", said["take"]),
        ("Which are as good?", _as_good(facts, said)),
        ("What would more time bring?", _more(facts, said)),
        ("How sure is all this?", _sure(facts, said)),
    ]


def _rows_before_a_look(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Could another be better?", "Not known yet. That is first told when every text has two measured sets."),
        ("How sure is all this?", SURE[facts["stopped"]].format(margin=share(facts["margin"]))),
    ]


def _as_good(facts: Mapping[str, Any], said: Said) -> str:
    if facts["looks"][-1]["bound"] is None:
        return "Not known: nothing can be claimed yet."
    margin = share(facts["margin"])
    still = [each["name"] for each in facts["candidates"] if each["state"] == "open"]
    parts = [
        f"{said['as good']} The margin is {margin}."
        if "as good" in said
        else f"No other is surely within {margin} of the best.",
        f"Undecided, neither as good nor worse for sure: {few(still)}." if still else "",
        said.get("worse", ""),
    ]
    return " ".join(part for part in parts if part)


def _more(facts: Mapping[str, Any], said: Said) -> str:
    forecast = facts["forecast"]
    if forecast is None:
        settled = f"Nothing that matters: it is settled to within {share(facts['margin'])}."
        running = f"The race goes on by itself, to at most {count(facts['budget'][-1], 'set')}."
        return running if not facts["stopped"] else "Not known." if facts["stopped"] == BUDGET else settled
    hours = f" They take about {lasting(3600 * forecast['hours'])}." if forecast["hours"] else ""
    if forecast["bound"] is None:
        return f"What another {count(forecast['sets'], 'set')} would bring cannot be said.{hours}"
    return said.get("more", more_sets(forecast["sets"], forecast["bound"])) + hours


def _sure(facts: Mapping[str, Any], said: Said) -> str:
    confidence = facts["confidence"]
    parts = [
        SURE[facts["stopped"]].format(margin=share(facts["margin"])),
        said.get("expected", ""),
        f"Of {1 / (1 - confidence):.0f} statements with {share(confidence)} confidence, one may be wrong.",
        f"All of them are about what is like {judging(facts)}: {judged(facts, 'selection')} decided.",
    ]
    return " ".join(part for part in parts if part)


def _kept_out(facts: Mapping[str, Any]) -> str:
    found = [each for each in facts["kept_out"] if each["documents"]]
    if not found:
        known = facts["stopped"] or facts["sets"]
        return "Nothing: no source shares text with what judges." if known else "Not known yet."
    told = [
        f"{each['documents']:,} of {each['of']:,} documents of {each['source']} ({each['judging']})" for each in found
    ]
    others = sum(each["documents"] for each in found[2:])
    rest = f", and {count(others, 'document')} more" if others else ""
    return f"{', '.join(told[:2])}{rest}: they share text with what judges, so no set is drawn from them."
