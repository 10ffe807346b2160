"""Who races in a study that chooses: its candidates, and the run that each of their sets is."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.errors import InputError
from calibrant.race.candidates import Candidate, candidate_names
from calibrant.settings import method_targets
from calibrant.settings.method_options import used_options
from calibrant.settings.setting import option_text
from calibrant.settings.target import parse_target
from calibrant.study import target_text
from calibrant.study.choose_section import GIVEN, OWN, is_given, judging_texts
from calibrant.study.grid import Run, SetKey

OWN_TEXT = "your own text"


@dataclass(frozen=True)
class Entry:
    """A candidate, as a study knows it before any text is read.

    Attributes:
        text: what it is called.
        source: what files of its text are called.
        origin: `real`, `synthetic`, or `given`, a calibration set that exists.
        variant: number of its options among `variants`; 0 has the study's own.
        options: of the method, where candidates differ in them.
    """

    text: str
    source: str
    origin: str
    variant: int
    options: Mapping[str, str]

    def candidate(self, config: Mapping[str, Any], sha256: str = "", available: int = 0) -> Candidate:
        """As the race knows it, once its text is known."""
        chosen, sets = config["choose"], config["calibration"]
        origin = "synthetic" if self.origin == "synthetic" else "real"
        size = (int(sets["samples"]), int(sets["length"]))
        return Candidate(
            self.text, origin, chosen["method"], chosen["target"], sha256, available, *size, options=self.options
        )

    def run(self, config: Mapping[str, Any], number: int) -> Run:
        """The run whose calibration set is this candidate's set of a number, from 0."""
        chosen = config["choose"]
        key = SetKey(self.source, self.origin, int(config["calibration"]["samples"]), number)
        if self.origin == "synthetic":
            prefix, drop = int(config["generation"]["prefix_length"]), float(config["filter"]["drop"])
            key = SetKey(self.source, self.origin, key.samples, number, prefix, drop)
        return Run(chosen["method"], chosen["target"], key, self.variant)


def variants(config: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every combination of the options that candidates differ in; one without any where there are none."""
    options = dict(sorted(config["choose"]["options"].items()))  # in whatever order a configuration was written
    combined = itertools.product(*([option_text(value) for value in values] for values in options.values()))
    return [dict(zip(options, each, strict=True)) for each in combined]


def variant_options(config: Mapping[str, Any], variant: int) -> dict[str, Any]:
    """The options of the method of a variant: the study's own, and over them the variant's."""
    own = config["pruning"]["options"]
    return {**own, **(variants(config)[variant - 1] if variant else {})}


def options_for(method: str, target: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Of a study's options of methods those that a method reads at a target, as texts; `owl.m` is owl's alone."""
    return {key: option_text(value) for key, value in used_options(method, parse_target(target), options).items()}


def entries(config: Mapping[str, Any]) -> dict[str, Entry]:
    """The candidates of a study by their names: its sources, parts of what judges, and a set that exists.

    Raises:
        InputError: two have one name, or the reference is none of them.
    """
    chosen = config["choose"]
    texts = [(name, name, origin) for origin in chosen["origins"] for name in config["sources"]]
    if chosen["own"]:
        judging = judging_texts(config)
        several = len(judging) > 1
        texts += [(f"{OWN_TEXT}: {name}" if several else OWN_TEXT, f"{OWN}{name}", "real") for name in judging]
    if is_given(config):
        texts.append((Path(chosen["reference"]).stem, GIVEN, "given"))
    every = variants(config)
    found = [
        Entry(*text, number if chosen["options"] else 0, options)
        for text in texts
        for number, options in enumerate(every, start=1)
    ]
    names = candidate_names([each.candidate(config) for each in found])
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"choose: two candidates are called {twice[0]}; give one of the texts another name")
    named = dict(zip(names, found, strict=True))
    if (reference := chosen.get("reference")) is not None and reference_name(config, named) is None:
        raise InputError(f"choose.reference is {reference}, which is no candidate; there are {', '.join(names)}")
    return named


def reference_name(config: Mapping[str, Any], named: Mapping[str, Entry]) -> str | None:
    """The name of the candidate that is used today; of several with this text the first. None without one."""
    reference: str | None = config["choose"].get("reference")
    if reference is None or reference in named:
        return reference
    given = is_given(config)
    return next(
        (name for name, each in named.items() if (each.origin == "given" if given else each.text == reference)), None
    )


def baseline(config: Mapping[str, Any]) -> Run:
    """The run without data that is always shown: what compressing without any text comes to."""
    target = str(config["choose"]["target"])
    return Run(method_targets.baseline(parse_target(target)), target, None)


DENSE = Run("dense", target_text.DENSE, None)  # what all are measured beside
