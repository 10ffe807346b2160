"""Methods as compositions: criterion × allocation × refinement × pattern, with every setting named."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from calibrant.errors import InputError
from calibrant.pruning.methods.allocations import ALLOCATIONS
from calibrant.pruning.methods.allocations.allocation import Allocation
from calibrant.pruning.methods.criteria import CRITERIA
from calibrant.pruning.methods.criteria.criterion import Criterion
from calibrant.pruning.methods.input_statistics import Kind
from calibrant.pruning.methods.refinements import REFINEMENTS
from calibrant.pruning.methods.refinements.refinement import Refinement
from calibrant.settings.method_options import COMMON, CRITERION_OF, Option, Value, read_options
from calibrant.settings.sparsity import GROUP_OF_OPTION, NM, Group, Pattern, Unstructured, parse_sparsity


@dataclass(frozen=True)
class Composition:
    """A method's parts by name; `criterion_option` names the option that chooses the criterion."""

    criterion: str
    allocation: str = "uniform"
    refinement: str = "none"
    criterion_option: Option | None = None


METHODS: dict[str, Composition] = {
    **{name: Composition(name) for name in CRITERIA},
    "owl": Composition("wanda", allocation="owl", criterion_option=CRITERION_OF["owl"]),
    "dsnot": Composition("wanda", refinement="dsnot", criterion_option=CRITERION_OF["dsnot"]),
}


@dataclass(frozen=True)
class Method:
    """A method ready to run: its parts, its pattern, and every setting with its value."""

    name: str
    criterion: Criterion
    allocation: Allocation
    refinement: Refinement | None
    pattern: Pattern
    settings: Mapping[str, Value]

    @property
    def sequential(self) -> str:
        """`layer`, `sublayer` or `dense`."""
        return str(self.settings["sequential"])

    @property
    def exclude(self) -> str | None:
        """Regular expression of the linear layers that stay dense."""
        value = self.settings["exclude"]
        return None if value is None else str(value)

    @property
    def needs(self) -> frozenset[Kind]:
        """The statistics that the criterion and the refinement read."""
        return self.criterion.needs | (self.refinement.needs if self.refinement else frozenset())

    @property
    def calibrated(self) -> bool:
        """Whether the method reads calibration data at all."""
        return bool(self.needs | self.allocation.needs)

    @property
    def updates_weights(self) -> bool:
        """Whether the kept weights change. A refined mask starts from the criterion's static score, so not then."""
        return self.criterion.solve is not None and self.refinement is None


def compose(method: str, sparsity: str, options: Mapping[str, str] | None = None) -> Method:
    """Put a method together from its name, `0.6` or `2:4`, and `key=value` options.

    Raises:
        InputError: an unknown method, option or value; the message lists those that exist.
    """
    if method not in METHODS:
        raise InputError(f"method {method}: unknown; use {', '.join(sorted(METHODS))}")
    pattern = parse_sparsity(sparsity)
    parts = METHODS[method]
    given = dict(options or {})
    criterion_name = parts.criterion
    chooser = parts.criterion_option
    if chooser and chooser.name in given:
        criterion_name = str(chooser.read(given[chooser.name]))
    criterion = CRITERIA[criterion_name]
    allocation = ALLOCATIONS[parts.allocation]
    refinement = REFINEMENTS[parts.refinement]
    settings = read_options(method, options_of(method, pattern, criterion_name), given)
    pattern, settings["group"] = _resolve_group(method, criterion, pattern, given, refinement is not None)
    return Method(method, criterion, allocation, refinement, pattern, settings)


def options_of(method: str, pattern: Pattern, criterion: str | None = None) -> tuple[Option, ...]:
    """The options of a method; `criterion` is the name of the one chosen, its usual one by default."""
    parts = METHODS[method]
    refinement = REFINEMENTS[parts.refinement]
    return (
        *((parts.criterion_option,) if parts.criterion_option else ()),
        *CRITERIA[criterion or parts.criterion].options,
        *ALLOCATIONS[parts.allocation].options(pattern),
        *(refinement.options if refinement else ()),
        *COMMON,
    )


def _resolve_group(
    method: str, criterion: Criterion, pattern: Pattern, given: Mapping[str, str], refined: bool
) -> tuple[Pattern, Value]:
    if isinstance(pattern, NM):
        if "group" in given:
            raise InputError(f"option group={given['group']}: an N:M pattern competes in groups of M; leave it out")
        return pattern, None
    if criterion.solve is not None and not refined and "group" in given:
        raise InputError(
            f"option group={given['group']}: method {method} selects in blocks of columns while it updates the "
            "weights (sparsegpt.block_size); leave it out"
        )
    # Refinement swaps weights within rows, so its first mask is drawn within rows whatever the criterion
    group: Group = "row" if refined else criterion.group
    if "group" in given:  # the one place where the option's word becomes the group that it means
        group = GROUP_OF_OPTION[given["group"]]
    if refined and group != "row":
        raise InputError(f"option group={given['group']}: method {method} swaps weights within rows; use group=row")
    assert isinstance(pattern, Unstructured)
    option = next(word for word, meant in GROUP_OF_OPTION.items() if meant == group)
    return replace(pattern, group=group), option
