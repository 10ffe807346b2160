"""The record of a pool: how many sets a candidate's text gives, or why it is out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import read_json
from calibrant.artefacts.digest import sha256_file
from calibrant.calibration.sample_set import read_samples
from calibrant.choice.entries import Entry
from calibrant.errors import InputError
from calibrant.settings.race_settings import FIRST
from calibrant.study.choose_section import first_samples, set_samples

RECORD = ".json"  # beside the pool


@dataclass(frozen=True)
class Pool:
    """What is known of a candidate's text.

    Attributes:
        sha256: of the text before anything was taken out.
        documents, tokens: that are left.
        prefixes: documents with more tokens than a prefix, which the model can continue.
        of: documents before.
        removed: rows of `kept_out.REMOVED_SCHEMA`.
        reason: why nothing is left; "" where something is.
    """

    sha256: str
    documents: int
    tokens: int
    prefixes: int
    of: int
    removed: list[dict[str, Any]]
    reason: str = ""

    def available(self, entry: Entry, config: Mapping[str, Any]) -> int:
        """Sets of a candidate that share no row; where the model writes, none begins as another does."""
        sets = config["calibration"]
        if entry.origin == "given":
            return 1
        if entry.origin == "synthetic":
            return self.prefixes // set_samples(config)
        return self.tokens // (int(sets["samples"]) * int(sets["length"]))

    def refusal(self, entry: Entry, config: Mapping[str, Any]) -> str:
        """Why a candidate is out before it has raced; "" where it is not."""
        if self.reason or entry.origin == "given" or (there := self.available(entry, config)) >= FIRST:
            return self.reason
        samples, length = int(config["calibration"]["samples"]), int(config["calibration"]["length"])
        sets = f"{there} set{'' if there == 1 else 's'}"
        said = f"has text for {sets} of {samples} x {length:,} tokens, and {FIRST} are needed"
        if entry.origin == "synthetic":
            rows = first_samples(config)
            return f"{said}: {rows} documents for the model to begin with; it has {self.prefixes}"
        return f"{said}: about {FIRST * samples * length:,} tokens; it has {self.tokens:,}"


def given_pool(calibration: Path) -> Pool:
    """The record of a calibration set that exists."""
    samples = read_samples(calibration)
    return Pool(sha256_file(calibration), len(samples), sum(map(len, samples.sequences)), 0, len(samples), [])


def read_pool(path: Path) -> Pool:
    """The record beside a pool.

    Raises:
        InputError: it is none.
    """
    found = read_json(path.with_suffix(RECORD))
    try:
        return Pool(**{key: value for key, value in found.items() if key != "stage"})
    except TypeError as error:
        raise InputError(
            f"{path.with_suffix(RECORD)}: is no record of a pool; remove it, and it is made anew"
        ) from error
