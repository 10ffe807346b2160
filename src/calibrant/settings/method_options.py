"""The options of every method: their defaults, bounds and meaning, and the reading of `key=value`.

A criterion's or refinement's own options stand here under its name; `OWL` has defaults that depend on the pattern.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.number_texts import real_number, whole_number
from calibrant.settings.regular_expression import read_regex
from calibrant.settings.sparsity import GROUPS, NM, Pattern
from calibrant.settings.target import Target

Value = str | float | int | bool | None
MethodSettings = Mapping[str, Value]  # every option of a method with its value


@dataclass(frozen=True)
class Option:
    """One setting: its default decides its type; `choices` or `low`/`high` bound it; `regex` says what a text is."""

    name: str
    default: Value
    help: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    regex: bool = False

    def read(self, text: str) -> Value:
        """The value that a text gives.

        Raises:
            InputError: not of this option's type, or outside what it allows.
        """
        if self.choices:
            if text not in self.choices:
                raise InputError(f"option {self.name}={text}: must be one of {', '.join(self.choices)}")
            return text == "true" if isinstance(self.default, bool) else text
        if self.regex:
            try:
                read_regex(text)
            except InputError as error:
                raise InputError(f"option {self.name}={text}: {error}") from None
        if self.default is None or isinstance(self.default, str):
            return text
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        try:
            value = whole_number(text) if isinstance(self.default, int) else real_number(text)
        except ValueError:
            raise InputError(f"option {self.name}={text}: must be {kind}{self._bounds()}") from None
        inside = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        if not (math.isfinite(value) and inside):
            raise InputError(f"option {self.name}={text}: must be {kind}{self._bounds()}")
        return value

    def schema(self) -> dict[str, Any]:
        """The option as a key of a JSON schema; no default, since an option that is not given is not passed on."""
        found: dict[str, Any] = {"description": self.help}
        if isinstance(self.default, bool):
            return found | {"enum": [True, False, *reversed(self.choices)]}
        if self.choices:
            return found | {"enum": list(self.choices)}
        kinds = {int: "integer", float: "number", str: "string", type(None): "string"}
        if self.regex:
            found["format"] = "regex"
        bounds = {"minimum": self.low, "maximum": self.high}
        return found | {"type": kinds[type(self.default)]} | {k: v for k, v in bounds.items() if v is not None}

    def _bounds(self) -> str:
        low = "" if self.low is None else f", at least {self.low:g}"
        return low + ("" if self.high is None else f", at most {self.high:g}")


BOOLEAN = ("false", "true")
INITIAL = ("wanda", "magnitude", "sparsegpt")  # criteria that OWL and DSnoT may start from
SEQUENTIAL = Option("sequential", "layer", "which inputs the statistics see", choices=("layer", "sublayer", "dense"))
FUSED = Option(
    "fused",
    "whole",
    "whether OpenLM's fused linears are compressed whole or by their parts",
    choices=("whole", "parts"),
)
EXCLUDE = Option("exclude", None, "regular expression over linear layers' names that stay dense", regex=True)
SYMMETRIC = Option(
    "symmetric", False, "codes have their zero in the middle, so that none need be stored", choices=BOOLEAN
)
COMMON = (SEQUENTIAL, FUSED, EXCLUDE)
OF_SPARSITY = (
    Option(
        "unreached",
        "magnitude",
        "what becomes of an expert that no calibration token reaches: pruned by magnitude, kept dense, or an error",
        choices=("magnitude", "keep", "error"),
    ),
    Option("group", "", "what competes in unstructured pruning; the criterion's own by default", choices=GROUPS),
)
OF_WIDTH = (
    Option(
        "unreached",
        "nearest",
        "what becomes of an expert that no calibration token reaches: rounded to nearest, kept dense, or an error",
        choices=("nearest", "keep", "error"),
    ),
    SYMMETRIC,
)
OPTIONS: dict[str, tuple[Option, ...]] = {
    "ria": (Option("ria.exponent", 0.5, "power of the input feature's norm", low=0, high=10),),
    "sparsegpt": (
        Option("sparsegpt.damping", 0.01, "share of the Hessian's mean diagonal added to it", low=0),
        Option("sparsegpt.block_size", 128, "columns handled together", low=1),
    ),
    "wrtn": (
        Option("wrtn.candidates", 12, "ranges that are tried for each group", low=1, high=1000),
        Option("wrtn.narrowest", 0.4, "the smallest of them, as a share of the whole range", low=0.01, high=1),
    ),
    "gptq": (
        Option("gptq.act_order", False, "settle columns by the Hessian's diagonal, largest first", choices=BOOLEAN),
        Option("gptq.static_groups", False, "take the ranges of all groups beforehand", choices=BOOLEAN),
        Option(
            "gptq.published",
            True,
            "float32 in the published order, to the last bit; false takes some columns at once, which is faster; "
            "and codes differ where a weight lies between two levels",
            choices=BOOLEAN,
        ),
        Option("gptq.damping", 0.01, "share of the Hessian's mean diagonal added to it", low=0),
        Option("gptq.block_size", 128, "columns handled together", low=1),
    ),
    "awq": (
        Option("awq.candidates", 20, "exponents of the inputs' magnitudes that are tried", low=1, high=1000),
        Option("awq.rows", 64, "rows of each linear layer that an exponent is judged by", low=1),
        Option("awq.clip", True, "choose each group's range by the weighted error, as wrtn does", choices=BOOLEAN),
    ),
    "dsnot": (
        Option("dsnot.scope", "attention", "which linear layers are refined", choices=("attention", "all")),
        Option("dsnot.max_cycles", 50, "swaps in a row at most", low=0),
        Option("dsnot.threshold", 0.1, "a row's error that needs no more swaps", low=0),
        Option("dsnot.variance_power", 1.0, "power of the variance that regrowing divides by"),
    ),
}
CRITERION_OF = {  # methods that are built on a criterion of the user's choice
    "owl": Option("owl.criterion", "wanda", "criterion", choices=INITIAL),
    "dsnot": Option("dsnot.initial", "wanda", "first mask", choices=INITIAL),
}


def number(settings: MethodSettings, name: str) -> float:
    """The value of an option that is a number."""
    value = settings[name]
    assert isinstance(value, int | float)
    return value


def owl_options(pattern: Pattern | None = None) -> tuple[Option, ...]:
    """OWL's options; the published defaults differ between ratios and N:M, and so does what `owl.lambda` may be.

    Ratios spread over 2 * owl.lambda, N:M over owl.lambda weights of M: beyond these bounds no layers fit. Without a
    pattern there is no bound.
    """
    width, outlier = (2.0, 6.0) if isinstance(pattern, NM) else (0.08, 5.0)
    widest = pattern.m if isinstance(pattern, NM) else None if pattern is None else 0.5
    return (
        Option("owl.lambda", width, "how far layers' sparsities may differ", low=0, high=widest),
        Option("owl.m", outlier, "a score this many times the layer's mean is an outlier", low=0),
        Option(
            "owl.exact_target", False, "shift the allocation so that the whole model meets the target", choices=BOOLEAN
        ),
    )


def common_options(target: Target) -> tuple[Option, ...]:
    """The options of every method at a target; what becomes of unreached experts is said in the words of one kind."""
    if target.pattern is None:
        return (*COMMON, *OF_WIDTH)
    return (*COMMON, *OF_SPARSITY, *((SYMMETRIC,) if target.width else ()))


def used_options(method: str, target: Target, options: Mapping[str, Any]) -> dict[str, Any]:
    """Of a study's options of all methods those that a method reads at a target; `owl.m` is owl's alone."""
    used = {method, options.get(f"{method}.criterion"), options.get(f"{method}.initial")}
    common = {option.name: option for option in common_options(target)}
    every = {option.name for option in (*COMMON, *OF_SPARSITY, *OF_WIDTH)}
    found = {}
    for key, value in options.items():
        if "." in key:
            if key.split(".")[0] in used:
                found[key] = value
        elif key not in every or (key in common and (not common[key].choices or _is_among(value, common[key]))):
            found[key] = value
    return found


def _is_among(value: Any, option: Option) -> bool:
    """Whether a value is one of an option's choices: `unreached=nearest` is nothing to a method that prunes."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    others = [other for other in (*OF_SPARSITY, *OF_WIDTH) if other.name == option.name and other is not option]
    return text in option.choices or not any(text in other.choices for other in others)


def option_schemas() -> dict[str, dict[str, Any]]:
    """The options of all methods as keys of a JSON schema."""
    own = [option for options in OPTIONS.values() for option in options]
    every = [*COMMON, *OF_WIDTH, *OF_SPARSITY, *own, *CRITERION_OF.values(), *owl_options()]
    found = {option.name: option.schema() for option in sorted(every, key=lambda option: option.name)}
    # one key of a study serves methods of both kinds
    return found | {"unreached": {**found["unreached"], "enum": ["magnitude", "nearest", "keep", "error"]}}


def read_options(method: str, options: tuple[Option, ...], given: Mapping[str, str]) -> dict[str, Value]:
    """Every option of a method with its value: the given one or the default.

    Raises:
        InputError: a key that the method has not, or a value that the key does not allow.
    """
    known = {option.name: option for option in options}
    for key in given:
        if key not in known:
            raise InputError(f"option {key}: method {method} has no such option; it has {', '.join(sorted(known))}")
    return {name: option.read(given[name]) if name in given else option.default for name, option in known.items()}
