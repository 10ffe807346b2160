"""Methods as compositions: criterion × allocation × refinement × quantizer × target, with every setting named."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from calibrant.errors import InputError
from calibrant.pruning.methods.allocations import ALLOCATIONS
from calibrant.pruning.methods.allocations.allocation import Allocation
from calibrant.pruning.methods.criteria import CRITERIA
from calibrant.pruning.methods.criteria.criterion import Criterion
from calibrant.pruning.methods.input_statistics import Kind
from calibrant.pruning.methods.quantizers import QUANTIZERS
from calibrant.pruning.methods.quantizers.quantizer import Quantizer
from calibrant.pruning.methods.refinements import REFINEMENTS
from calibrant.pruning.methods.refinements.refinement import Refinement
from calibrant.settings.method_options import CRITERION_OF, Option, Value, common_options, read_options
from calibrant.settings.method_targets import check_target
from calibrant.settings.sparsity import GROUP_OF_OPTION, NM, Group, Pattern, Unstructured
from calibrant.settings.target import Target, Width, parse_target

NOTHING_PRUNED = Unstructured(0.0)  # the pattern of a target that is a width alone


@dataclass(frozen=True)
class Composition:
    """A method's parts by name; `criterion_option` names the option that chooses the criterion.

    A method without a criterion prunes nothing. The quantizer of one with a criterion is used where the target has a
    width, and the criterion does not quantize by itself.
    """

    criterion: str | None = None
    allocation: str = "uniform"
    refinement: str = "none"
    quantizer: str | None = None
    criterion_option: Option | None = None


METHODS: dict[str, Composition] = {
    **{name: Composition(name) for name in CRITERIA},
    **{name: Composition(quantizer=name) for name in QUANTIZERS},
    "magnitude": Composition("magnitude", quantizer="rtn"),
    "owl": Composition("wanda", allocation="owl", criterion_option=CRITERION_OF["owl"]),
    "dsnot": Composition("wanda", refinement="dsnot", criterion_option=CRITERION_OF["dsnot"]),
}


@dataclass(frozen=True)
class Method:
    """A method ready to run: its parts, its target, and every setting with its value.

    criterion: None where nothing is pruned; `pattern` is then `NOTHING_PRUNED`.
    quantizer: None where nothing is quantized, or the criterion quantizes while it prunes.
    """

    name: str
    criterion: Criterion | None
    allocation: Allocation
    refinement: Refinement | None
    quantizer: Quantizer | None
    target: Target
    pattern: Pattern
    settings: Mapping[str, Value]

    @property
    def width(self) -> Width | None:
        """Bits and groups of the weights; None where they keep their number format."""
        return self.target.width

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
        """The statistics that the criterion, the refinement and the quantizer read."""
        parts = (self.criterion, self.refinement, self.quantizer)
        return frozenset().union(*(part.needs for part in parts if part is not None))

    @property
    def calibrated(self) -> bool:
        """Whether the method reads calibration data at all."""
        return bool(self.needs | self.allocation.needs)

    @property
    def updates_weights(self) -> bool:
        """Whether the kept weights change. A refined mask starts from the criterion's static score, so not then."""
        return self.width is not None or self.solves

    @property
    def scales_inputs(self) -> bool:
        """Whether the inputs of linears are scaled before their weights are quantized."""
        return self.quantizer is not None and self.quantizer.input_scales is not None

    @property
    def solves(self) -> bool:
        """Whether the criterion selects while it updates the weights."""
        return self.criterion is not None and self.criterion.solve is not None and self.refinement is None


def compose(method: str, target: str | Target, options: Mapping[str, str] | None = None) -> Method:
    """Put a method together from its name, its target (`0.6`, `2:4`, `w4g64`), and `key=value` options.

    Raises:
        InputError: an unknown method, option or value, the message lists those that exist; or a target that the method
            cannot compress to.
    """
    if method not in METHODS:
        raise InputError(f"method {method}: unknown; use {', '.join(sorted(METHODS))}")
    target = parse_target(target) if isinstance(target, str) else target
    check_target(method, target)
    pattern = target.pattern or NOTHING_PRUNED
    parts = METHODS[method]
    given = dict(options or {})
    criterion_name = parts.criterion
    chooser = parts.criterion_option
    if chooser and chooser.name in given:
        criterion_name = str(chooser.read(given[chooser.name]))
    criterion = CRITERIA[criterion_name] if criterion_name else None
    quantizer = QUANTIZERS[parts.quantizer] if parts.quantizer and target.width else None
    allocation = ALLOCATIONS[parts.allocation]
    refinement = REFINEMENTS[parts.refinement]
    settings = read_options(method, options_of(method, target, criterion_name), given)
    if quantizer and quantizer.input_scales and settings["sequential"] == "sublayer":
        raise InputError(
            f"option sequential=sublayer: method {method} scales what lies before a linear layer, and that is "
            "quantized by then; use layer or dense"
        )
    if criterion is not None:
        pattern, settings["group"] = _resolve_group(method, criterion, pattern, given, refinement is not None)
    return Method(method, criterion, allocation, refinement, quantizer, target, pattern, settings)


def options_of(method: str, target: Target, criterion: str | None = None) -> tuple[Option, ...]:
    """The options of a method; `criterion` is the name of the one chosen, its usual one by default."""
    parts = METHODS[method]
    refinement = REFINEMENTS[parts.refinement]
    chosen = criterion or parts.criterion
    return (
        *((parts.criterion_option,) if parts.criterion_option else ()),
        *(CRITERIA[chosen].options if chosen else ()),
        *ALLOCATIONS[parts.allocation].options(target.pattern or NOTHING_PRUNED),
        *(refinement.options if refinement else ()),
        *(QUANTIZERS[parts.quantizer].options if parts.quantizer and target.width else ()),
        *common_options(target),
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
