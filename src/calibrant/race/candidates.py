"""What races: a text, real or written by the model, a method with its options, and one target for all."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from calibrant.errors import InputError
from calibrant.settings.race_settings import FIRST

WRITTEN = "self-generated"


@dataclass(frozen=True)
class Candidate:
    """A stream of calibration sets: blocks of one text, in the order of their numbers.

    Attributes:
        text: name of the source.
        origin: `real`, or `synthetic` where the model wrote it from the source's prefixes.
        method: of compression.
        target: such as 0.6 or 2:4.
        sha256: of the text that sets are cut from, or that prefixes come from.
        available: sets without common rows that the text gives.
        samples, length: of a set, in sequences and tokens.
        options: of the method.
    """

    text: str
    origin: str
    method: str
    target: str
    sha256: str
    available: int
    samples: int
    length: int
    options: Mapping[str, str] = field(default_factory=dict)

    def named(self, *, options: bool = False, method: bool = False) -> str:
        """How it is called: by its text, by its origin unless that is real, and by what else candidates differ in."""
        parts = [WRITTEN] if self.origin == "synthetic" else []
        parts += [self.method] if method else []
        parts += [f"{key}={value}" for key, value in sorted(self.options.items())] if options else []
        return f"{self.text} ({', '.join(parts)})" if parts else self.text


def candidate_names(candidates: Sequence[Candidate]) -> list[str]:
    """Names that differ: options and methods are told where candidates differ in them."""
    options = len({tuple(sorted(each.options.items())) for each in candidates}) > 1
    methods = len({each.method for each in candidates}) > 1
    return [each.named(options=options, method=methods) for each in candidates]


def check_candidates(candidates: Sequence[Candidate], reference: str | None = None) -> list[str]:
    """The candidates' names; refuses what cannot be raced.

    Raises:
        InputError: fewer than two, two that are one, several targets, too little text for two sets, or an unknown
            reference.
    """
    names = candidate_names(candidates)
    if len(candidates) < 2:
        raise InputError(
            f"a race needs two candidates or more, and has {', '.join(names) or 'none'}; name another source or origin"
        )
    targets = sorted({each.target for each in candidates})
    if len(targets) > 1:
        raise InputError(f"a race has one target, and these have {', '.join(targets)}; run one race for each")
    seen: dict[tuple[object, ...], str] = {}
    for each, name in zip(candidates, names, strict=True):
        recipe = (each.sha256, each.origin, each.method, tuple(sorted(each.options.items())))
        if recipe in seen:
            raise InputError(
                f"{name}: is the same text, origin, method and options as {seen[recipe]}, so the two cannot differ; "
                "leave one out"
            )
        seen[recipe] = name
        if each.available < FIRST:
            raise InputError(
                f"{name}: has text for {each.available} set{'' if each.available == 1 else 's'} of {each.samples} x "
                f"{each.length:,} tokens, and {FIRST} are needed; give about "
                f"{FIRST * each.samples * each.length:,} tokens or more, or lower --samples or --length"
            )
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InputError(f"{twice[0]}: two sources have this name; give one another, as in --source other=FILE")
    if reference is not None and reference not in names:
        raise InputError(f"--reference {reference}: is no candidate; there are {', '.join(names)}")
    return names
