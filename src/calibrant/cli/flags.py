"""Flags from what a stage says of its files and settings, and back: what was typed as arguments of its function."""

import argparse
from collections.abc import Sequence
from typing import Any

from calibrant.errors import InputError
from calibrant.settings.setting import Described, Settings, described
from calibrant.stages.stage import FileArgument, Stage


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
        value = getattr(options, file.name)
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
    return settings(**{each.name: _read(each, getattr(options, each.name)) for each in described(settings)})


def _add_file(parser: argparse.ArgumentParser, file: FileArgument) -> None:
    text = file.help.replace("%", "%%")
    if file.flag == "":
        many: dict[str, Any] = {"nargs": "+"} if file.many else {"nargs": None if file.required else "?"}
        parser.add_argument(file.name, help=text, metavar=file.metavar, **many)
        return
    how: dict[str, Any] = {"action": "append", "default": []} if file.many else {"required": file.required}
    parser.add_argument(
        f"--{file.flag or file.name.replace('_', '-')}", dest=file.name, help=text, metavar=file.metavar, **how
    )


def _add_setting(parser: argparse.ArgumentParser, each: Described) -> None:
    said = each.setting
    how: dict[str, Any] = {"dest": each.name, "required": each.required}
    shown = None if each.required else each.default
    if each.kind is bool:
        how = {"dest": each.name, "action": "store_true"}
        shown = None
    elif each.kind is tuple and said.listing == "comma":
        shown = ",".join(each.default)
        how["default"] = shown
    elif each.kind is tuple:
        how |= {"default": []} | ({"action": "append"} if said.listing == "repeat" else {"nargs": "+"})
    elif each.kind is dict and each.number:
        how["default"] = ""
    elif each.kind is dict:
        how |= {"action": "append", "default": []}
    else:
        how |= {"default": shown, "type": each.kind}
    if each.kind is not bool:
        how["metavar"] = said.metavar
    notes = []
    if said.choices:
        notes.append(", ".join(said.choices))
    if shown not in (None, "", (), {}):
        notes.append(f"default {shown}")
    text = f"{said.help} ({'; '.join(notes)})" if notes else said.help
    parser.add_argument(each.flag, help=text.replace("%", "%%"), **how)


def _read(each: Described, typed: Any) -> Any:
    if each.kind is tuple:
        return tuple(part for part in typed.split(",") if part) if isinstance(typed, str) else tuple(typed)
    if each.kind is dict and each.number:
        return dict(_count(each, item) for item in typed.split(",") if item)
    if each.kind is dict:
        return pairs(each, typed)
    return typed


def _count(each: Described, item: str) -> tuple[str, int]:
    name, equals, count = item.partition("=")
    if not name or not equals or not count.lstrip("-").isdecimal():
        raise InputError(f"{each.flag} {item}: must be TASK=NUMBER, as in mmlu=5")
    return name, int(count)


def pairs(each: Described, typed: Sequence[str]) -> dict[str, str]:
    """`key=value` texts as a mapping.

    Raises:
        InputError: no `=`, or a key given twice.
    """
    found: dict[str, str] = {}
    for text in typed:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"{each.flag} {text}: must be {each.setting.wanted}")
        if key in found:
            raise InputError(f"{each.flag} {key}: given twice")
        found[key] = value
    return found
