"""Named settings of methods: their defaults, and the reading of `key=value`."""

from collections.abc import Mapping
from dataclasses import dataclass

from calibrant.errors import InputError

Value = str | float | int | bool | None
MethodSettings = Mapping[str, Value]  # every option of a method with its value


@dataclass(frozen=True)
class Option:
    """One setting: its default decides its type; `choices` or `low`/`high` (low excluded if `positive`) bound it."""

    name: str
    default: Value
    help: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    def read(self, text: str) -> Value:
        """The value that a text gives.

        Raises:
            InputError: not of this option's type, or outside what it allows.
        """
        if self.choices:
            if text not in self.choices:
                raise InputError(f"option {self.name}={text}: must be one of {', '.join(self.choices)}")
            return text == "true" if isinstance(self.default, bool) else text
        if self.default is None or isinstance(self.default, str):
            return text
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        try:
            value = int(text) if isinstance(self.default, int) else float(text)
        except ValueError:
            raise InputError(f"option {self.name}={text}: must be {kind}{self._bounds()}") from None
        if not ((self.low is None or value >= self.low) and (self.high is None or value <= self.high)):
            raise InputError(f"option {self.name}={text}: must be {kind}{self._bounds()}")
        return value

    def _bounds(self) -> str:
        low = "" if self.low is None else f", at least {self.low:g}"
        return low + ("" if self.high is None else f", at most {self.high:g}")


BOOLEAN = ("false", "true")


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
