"""One setting, said once: its default, help and bounds. Checks, flags and the schema of config.yaml follow from it."""

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from calibrant.errors import InputError, shown
from calibrant.settings.number_texts import LARGEST
from calibrant.settings.regular_expression import read_regex

KEY = "setting"  # in a dataclass field's metadata
TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}  # as JSON schemas call them


@dataclass(frozen=True)
class Setting:
    """What a field of a `Settings` class may hold.

    help: what it is, in words.
    choices: the values that are allowed, where they are few.
    regex: whether a text is itself a regular expression.
    pattern: a regular expression that the whole of a text must match; `wanted` says it in words.
    least, above, most, below: bounds of a number; `above` and `below` are excluded themselves.
    wanted: what a right value is, where the bounds alone do not say it well.
    metavar: what stands for the value in a usage line.
    listing: how a flag takes several values: `a,b`, the flag again for each, or one after the other.
    """

    help: str
    choices: tuple[str, ...] = ()
    pattern: str = ""
    regex: bool = False
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    wanted: str = ""
    metavar: str | None = None
    listing: Literal["comma", "repeat", "space"] = "comma"

    def fits(self, value: float) -> bool:
        """Whether a number is finite and within the bounds."""
        return (
            abs(value) <= LARGEST
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    @property
    def right(self) -> str:
        """What a right value is: `wanted`, or the bounds in words."""
        if self.wanted:
            return self.wanted
        if self.choices:
            return one_of(self.choices)
        bounds = (("at least", self.least), ("above", self.above), ("at most", self.most), ("below", self.below))
        return " and ".join(f"{word} {value:g}" for word, value in bounds if value is not None) or "a finite number"


@dataclass(frozen=True)
class Described:
    """A field of a `Settings` class: its name, the type of a value, whether it may be None, its default, what it is.

    kind: `int`, `float`, `str`, `bool`, `tuple` (of texts) or `dict` (text -> text or number).
    number: whether the values of a mapping are whole numbers.
    """

    name: str
    kind: type
    optional: bool
    default: Any
    setting: Setting
    number: bool = False

    @property
    def flag(self) -> str:
        """`--top-k` for `top_k`."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING


def setting(default: Any, help: str, **said: Any) -> Any:
    """A field of a `Settings` class; `said` are the other attributes of `Setting`. `MISSING` as default: required."""
    metadata = {KEY: Setting(help, **said)}
    if default is MISSING:
        return field(metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a stage; making one checks every value.

    Raises:
        InputError: names the flag, the value and what would be right.
    """

    def __post_init__(self) -> None:
        for each in described(type(self)):
            check(each, getattr(self, each.name))


def described(settings: type[Settings]) -> tuple[Described, ...]:
    """The fields of a `Settings` class: its own first, then those of the classes that it is built on."""
    hints = typing.get_type_hints(settings)
    found = []
    own = [name for each in settings.__mro__ for name in vars(each).get("__annotations__", ())]
    for item in sorted(fields(settings), key=lambda item: own.index(item.name)):
        kind, optional = _without_none(hints[item.name])
        origin = typing.get_origin(kind) or kind
        number = typing.get_args(kind)[-1:] == (int,)
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        plain = dict if origin not in (int, float, str, bool, tuple) else origin
        found.append(Described(item.name, plain, optional, default, item.metadata[KEY], number))
    return tuple(found)


def check(each: Described, value: Any) -> None:
    """Refuse a value that a field must not have.

    Raises:
        InputError: names the flag, the value and what would be right.
    """
    said = each.setting
    if value is None and each.optional:
        return
    if each.kind in (int, float):
        whole = each.kind is int
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise InputError(f"{each.flag} {value!r}: must be a {'whole ' if whole else ''}number, {said.right}")
        if not said.fits(value):
            given = f"{value:g}" if isinstance(value, float) else shown(value, 40)
            beyond = whole and value > LARGEST and said.most is None
            raise InputError(f"{each.flag} {given}: must be {f'at most {LARGEST}' if beyond else said.right}")
    elif each.kind is bool:
        if not isinstance(value, bool):
            raise InputError(f"{each.flag} {value!r}: must be true or false")
    elif each.kind is str:
        if not isinstance(value, str):
            raise InputError(f'{each.flag} {value!r}: must be a text, "{value}"')
        check_text(each.flag, value)
        if said.choices and value not in said.choices:
            raise InputError(f"{each.flag} {value}: unknown; use {one_of(said.choices)}")
        if said.pattern and not re.fullmatch(said.pattern, value):
            raise InputError(f"{each.flag} {value}: unknown; use {said.right}")
        if said.regex:
            try:
                read_regex(value)
            except InputError as error:
                raise InputError(f"{each.flag} {value}: {error}") from None
    elif each.kind is tuple:
        if isinstance(value, str) or not all(isinstance(item, str) for item in value):
            raise InputError(f"{each.flag} {value!r}: must be a list of texts")
        for item in value:
            check_text(each.flag, item)
            if said.choices and item not in said.choices:
                raise InputError(f"{each.flag} {item}: unknown; use {one_of(said.choices)}")
    else:
        if not isinstance(value, Mapping):
            raise InputError(f"{each.flag} {value!r}: must be a mapping of names to values")
        for name, item in value.items():
            for text in (str(name), str(item)):
                check_text(each.flag, text)
            if not each.number and not isinstance(item, str):
                raise InputError(f'{each.flag} {name}={item}: must be a text, as on the command line: "{item}"')
            if each.number and (isinstance(item, bool) or not isinstance(item, int) or not said.fits(item)):
                raise InputError(f"{each.flag} {name}={item}: must be {said.right}")


def check_text(name: str, text: str) -> None:
    """Refuse a text that no file could hold as UTF-8, or that ends where a C library reads it.

    Raises:
        InputError: half of a surrogate pair, which stands for a byte that is no UTF-8, or a NUL.
    """
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise InputError(f"{name} {shown(text)}: holds a character that is no text; give UTF-8 without NUL")


def json_schema(each: Described) -> dict[str, Any]:
    """A field as a key of a JSON schema: description, type, bounds and default."""
    said = each.setting
    found: dict[str, Any] = {"description": said.help}
    if said.choices and each.kind is str:
        found["enum"] = list(said.choices)
    elif each.kind in TYPES:
        found["type"] = TYPES[each.kind]
        if said.pattern:
            found["pattern"] = f"^({said.pattern})$"
        if said.regex:
            found["format"] = "regex"
    elif each.kind is tuple:
        found |= {"type": "array", "items": {"enum": list(said.choices)} if said.choices else {"type": "string"}}
    else:
        values: dict[str, Any] = {"type": "integer" if each.number else "string"}
        found |= {"type": "object", "additionalProperties": values | _bounds(said)}
        said = Setting(said.help)
    found |= _bounds(said)
    if not each.required and each.default is not None:
        found["default"] = list(each.default) if each.kind is tuple else each.default
    return found


def command_line(settings: type[Settings], values: Mapping[str, Any]) -> list[str]:
    """The words of a command line that give a stage these values; those that are its defaults are left out.

    Raises:
        KeyError: a name that the stage has not.
    """
    known = {each.name: each for each in described(settings)}
    words: list[str] = []
    for name, value in values.items():
        each = known[name]
        if value is None or value == each.default:
            continue
        words += _words(each, value)
    return words


def one_of(choices: typing.Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return " or ".join([*([", ".join(choices[:-1])] if choices[:-1] else []), *choices[-1:]])


def _words(each: Described, value: Any) -> list[str]:
    if each.kind is bool:
        return [each.flag] if value else []
    if each.kind is tuple and each.setting.listing == "space":
        return [each.flag, *value]
    if each.kind is tuple:
        texts = list(value) if each.setting.listing == "repeat" else [",".join(value)]
    elif each.kind is dict:
        texts = [f"{name}={item}" for name, item in sorted(value.items())]
        texts = [",".join(texts)] if each.number and texts else texts
    else:
        texts = [str(value)]
    # a parser takes a word that begins with a dash for a flag, and Snakemake drops a word that is empty
    joined = [text[:1] in ("-", "") for text in texts]
    pairs = zip(texts, joined, strict=True)
    return [word for text, one in pairs for word in ([f"{each.flag}={text}"] if one else [each.flag, text])]


def _bounds(said: Setting) -> dict[str, Any]:
    names = {"minimum": said.least, "exclusiveMinimum": said.above}
    names |= {"maximum": said.most, "exclusiveMaximum": said.below}
    return {name: value for name, value in names.items() if value is not None}


def _without_none(hint: Any) -> tuple[Any, bool]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return kinds[0], len(kinds) < len(typing.get_args(hint))
    return hint, False


def option_text(value: Any) -> str:
    """The value of a method's option as a command line has it: `true` for what YAML reads as true."""
    return str(value).lower() if isinstance(value, bool) else str(value)
