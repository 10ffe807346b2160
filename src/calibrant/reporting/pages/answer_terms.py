"""Terms of an answer's page: counts, shares, times, and what method, target and measure mean."""

from collections.abc import Mapping
from typing import Any

from calibrant.race.spoken import listed
from calibrant.reporting.results.cells import method_label
from calibrant.reporting.results.numbers import number
from calibrant.settings.sparsity import NM
from calibrant.settings.target import parse_target

SHOWN = 3  # names of a list on the first screen
UNITS = {"text": "document", "task": "item"}  # what a kind of purpose consists of
MEANS = {  # what "better" means; {judges} are texts or tasks
    "kl": "on {judges} the compressed model predicts more like the dense model, the one before compression "
    "(divergence)",
    "perplexity": "the compressed model predicts the words of {judges} more surely (lower perplexity)",
    "agreement": "on {judges} the next word that the compressed model holds likeliest is more often that of the dense "
    "model, the one before compression",
}


def count(amount: int, noun: str) -> str:
    """`1 set`, `2 sets`."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def few(names: list[str]) -> str:
    """The first names of a list, and how many others there are."""
    return listed(names if len(names) <= SHOWN + 1 else [*names[:SHOWN], f"{len(names) - SHOWN} others"])


def share(value: float) -> str:
    """`1 %` of 0.01."""
    return f"{100 * value:.3g} %"


def lasting(seconds: float) -> str:
    """`40 seconds`, `12 minutes`, `1.1 hours`."""
    if seconds < 90:
        return count(max(1, round(seconds)), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{number(seconds / 3600, 1)} hours"


def target_words(facts: Mapping[str, Any]) -> str:
    """`Wanda, 60 % of the weights removed`, `GPTQ, 4 bits a weight in groups of 64`."""
    target = parse_target(facts["target"])
    what = []
    if isinstance(target.pattern, NM):
        what.append(f"{target.pattern.n} of every {target.pattern.m} weights kept")
    elif target.pattern is not None:
        what.append(f"{share(target.sparsity)} of the weights removed")
    if target.width is not None:
        groups = "one group a row" if target.width.group is None else f"groups of {target.width.group}"
        what.append(f"{target.width.bits} bits a weight in {groups}")
    return f"{method_label(facts['method'])}, {' and '.join(what)}"


def judging(facts: Mapping[str, Any]) -> str:
    """The texts and tasks that judge, by name."""
    return listed([each["name"] for each in facts["purposes"]])


def judged(facts: Mapping[str, Any], part: str) -> str:
    """`27 documents`, `27 documents and 400 items`: what judges in a part of them (`selection`, `test`)."""
    sums = {kind: sum(each[part] for each in facts["purposes"] if each["kind"] == kind) for kind in UNITS}
    return listed([count(amount, UNITS[kind]) for kind, amount in sums.items() if amount])


def means(facts: Mapping[str, Any]) -> str:
    """What "better" means."""
    measure = facts["measure"]
    other = "fewer answers of {judges} change" if measure.startswith("flips") else "more of {judges} is answered right"
    words = MEANS.get(measure, f"{other} ({measure})")
    reads = "Compression reads the calibration text to find which weights matter."
    return f"{reads} Better means: {words.format(judges=judging(facts))}."


def described(chosen: Mapping[str, Any]) -> str:
    """The text of the chosen set, its origin and options."""
    written = f"text that the model wrote itself from beginnings of {chosen['text']}"
    what = written if chosen["origin"] == "synthetic" else f"{chosen['text']} (real text)"
    options = listed([f"{key} = {value}" for key, value in sorted(chosen["options"].items())])
    return f"{what}, to be used with {options}" if chosen["options"] else what
