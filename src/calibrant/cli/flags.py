"""Flags from what a stage says of its files and settings, and back: what was typed as arguments of its function."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from calibrant.errors import InputError, shown
from calibrant.settings.number_texts import real_number, whole_number
from calibrant.settings.setting import Described, Settings, described
from calibrant.stages.stage import FileArgument, Stage


class _Once(argparse.Action):
    """Keep a value, and refuse a second one, which would take the place of the first without a word."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        given = vars(namespace).setdefault("given_flags", set())
        if self.dest in given:
            parser.error(f"argument {option_string}: given twice; it takes one value")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


def _typed(read: Callable[[str], Any], wanted: str) -> Callable[[str], Any]:
    def typed(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {shown(repr(text), 60)}") from None

    return typed


MUST_COUNT = "must be TASK=NUMBER, as in mmlu=5"
ONCE = {"action": _Once}
NUMBERS = {int: _typed(whole_number, "a whole number"), float: _typed(real_number, "a number")}


def add_flags(parser: argparse.ArgumentParser, stage: Stage) -> None:
    """Every file and setting of a stage as an argument of the parser; nothing is checked here but numbers."""
    for file in stage.files:
        _add_file(parser, file)
    for each in described(stage.settings) if stage.settings else ():
        _add_setting(parser, each)


def arguments(stage: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of a stage's function, from what was typed.

    Raises:
        InputError: a value that its setting does not allow.
    """
    found: dict[str, Any] = {}
    for file in stage.files:
        value = _restored(getattr(options, file.name), file.many)
        if file.commas:
            value = [part for given in value for part in given.split(",") if part]
        found[file.name] = value
    if stage.settings is not None:
        found["settings"] = read_settings(stage.settings, options)
    return found


def read_settings(settings: type[Settings], options: argparse.Namespace) -> Settings:
    """Settings from what was typed, checked.

    Raises:
        InputError: names the flag, the value and what would be right.
    """
    found = {}
    for each in described(settings):
        many = each.kind in (tuple, dict)
        found[each.name] = _read(each, _restored(getattr(options, each.name), many))
    return settings(**found)


def _restored(typed: Any, many: bool) -> Any:
    """What was typed: argparse takes the value of `--source=--` away and leaves an empty list."""
    if many and isinstance(typed, list):
        return ["--" if each == [] else each for each in typed]
    return "--" if typed == [] else typed


def _add_file(parser: argparse.ArgumentParser, file: FileArgument) -> None:
    text = file.help.replace("%", "%%")
    if file.flag == "":
        many: dict[str, Any] = {"nargs": "+"} if file.many else {"nargs": None if file.required else "?"}
        parser.add_argument(file.name, help=text, metavar=file.metavar, **many)
        return
    how: dict[str, Any] = {"action": "append", "default": []} if file.many else ONCE | {"required": file.required}
    parser.add_argument(
        f"--{file.flag or file.name.replace('_', '-')}", dest=file.name, help=text, metavar=file.metavar, **how
    )


def _add_setting(parser: argparse.ArgumentParser, each: Described) -> None:
    said = each.setting
    how: dict[str, Any] = ONCE | {"dest": each.name, "required": each.required, "metavar": said.metavar}
    if each.kind is bool:
        how = {"dest": each.name, "action": "store_true"}
    elif each.kind is tuple and said.listing == "comma":
        how["default"] = ",".join(each.default)
    elif each.kind is tuple:
        how |= {"default": []} | ({"action": "append"} if said.listing == "repeat" else {"nargs": "+"})
    elif each.kind is dict and each.number:
        how["default"] = ""
    elif each.kind is dict:
        how |= {"action": "append", "default": []}
    else:
        how |= {"default": None if each.required else each.default, "type": NUMBERS.get(each.kind, str)}
    notes = [", ".join(said.choices)] if said.choices else []
    if not each.required and "default" not in said.help:
        notes.append(f"default {_shown_default(each)}")
    text = f"{said.help} ({'; '.join(notes)})" if notes else said.help
    parser.add_argument(each.flag, help=text.replace("%", "%%"), **how)


def _shown_default(each: Described) -> str:
    if each.kind is bool:
        return "on" if each.default else "off"
    if each.kind is tuple:
        return ",".join(each.default) or "none"
    return str(each.default) if each.default not in (None, "", {}) else "none"


def _read(each: Described, typed: Any) -> Any:
    if each.kind is tuple:
        return tuple(part for part in typed.split(",") if part) if isinstance(typed, str) else tuple(typed)
    if each.kind is dict and each.number:
        named = pairs(each, [item for item in typed.split(",") if item])
        return {name: _count(each, text) for name, text in named.items()}
    if each.kind is dict:
        return pairs(each, typed)
    return typed


def _count(each: Described, text: str) -> int:
    try:
        return whole_number(text)
    except ValueError:
        raise InputError(f"{each.flag} {text}: {MUST_COUNT}") from None


def pairs(each: Described, typed: Sequence[str]) -> dict[str, str]:
    """`key=value` texts as a mapping.

    Raises:
        InputError: no `=`, or a key given twice.
    """
    found: dict[str, str] = {}
    for text in typed:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"{each.flag} {text}: {MUST_COUNT if each.number else f'must be {each.setting.wanted}'}")
        if key in found:
            raise InputError(f"{each.flag} {key}: given twice")
        found[key] = value
    return found
