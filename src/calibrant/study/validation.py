"""Check a configuration against its JSON schema, with messages that a person can act on."""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import jsonschema

from calibrant.errors import InputError, shown_value
from calibrant.settings.regular_expression import read_regex

LONGEST_NAME = 100  # characters that are compared with what was probably meant

# Keys that were: what stands in their place.
FORMER = {"bos_in_prefix": "bos: always, whose token is none of the prefix's (a prefix of one token less is the same)"}


def validate(config: dict[str, Any], schema: dict[str, Any], name: str = "config") -> None:
    """Refuse what the schema does not allow.

    Raises:
        InputError: names the first wrong key in the order of the file, its value and what is allowed.
    """
    validator = _Validator(schema, format_checker=FORMATS)
    for error in sorted(validator.iter_errors(config), key=lambda e: [str(part) for part in e.absolute_path]):
        raise InputError(f"{name}: {explain(error)}")


def _whole_match(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Any]:
    """`pattern` of all schemas: the whole of a text matches, where `$` alone would let a newline follow."""
    if isinstance(value, str) and not re.fullmatch(pattern, value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern}")


def _is_integer(checker: Any, value: Any) -> bool:
    """An int: JSON schema's integers also have 2.0 among them, which Python counts nothing by."""
    return isinstance(value, int) and not isinstance(value, bool)


_Validator: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    {"pattern": _whole_match},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)
FORMATS = jsonschema.FormatChecker(())


@FORMATS.checks("regex", raises=InputError)
def _is_regex(value: object) -> bool:
    return not isinstance(value, str) or bool(read_regex(value))


def fill_defaults(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return `value` with the schema's defaults for keys that are absent, at every depth."""
    schema = _follow(schema, root)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        other = schema.get("additionalProperties")
        filled = {k: _default(sub, root) for k, sub in known.items() if k not in value and _has_default(sub, root)}
        for key, item in value.items():
            sub = known.get(key, other if isinstance(other, dict) else {})
            filled[key] = fill_defaults(item, sub, root)
        return filled
    if isinstance(value, list):
        return [fill_defaults(item, schema.get("items", {}), root) for item in value]
    return value


def explain(error: Any) -> str:
    """One line for a jsonschema error: key, value found, what would be right."""
    key = ".".join(str(part) for part in error.absolute_path) or "the file"
    rule, limit, value = error.validator, error.validator_value, error.instance
    if rule == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = [k for k in value if k not in known]
        prefix = "" if key == "the file" else f"{key}."
        if unknown[0] in FORMER:
            return f"{prefix}{unknown[0]} is no key any more; use {prefix}{FORMER[unknown[0]]}"
        found = f"unknown key {prefix}{shown_value(unknown[0])[1:-1]}{suggest(unknown[0], known)}"
        return f"{found}; allowed here: {', '.join(known)}"
    if rule == "required":
        missing = [k for k in limit if k not in value]
        return f"{key} lacks the key {missing[0]}; it must have {', '.join(limit)}"
    named = "propertyNames" in error.absolute_schema_path  # what is wrong is a name, not a value
    found = f"{key} has the name {shown_value(value)}" if named else f"{key} is {shown_value(value)}"
    if rule == "enum":
        return f"{found}{suggest(value, limit)}; allowed: {', '.join(map(str, limit))}"
    if rule == "type":
        kinds = [limit] if isinstance(limit, str) else limit
        return f"{found}; it must be of type {' or '.join(kinds)}"
    wording = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "more than",
        "exclusiveMaximum": "less than",
    }
    if rule in wording:
        return f"{found}; it must be {wording[rule]} {limit}"
    if rule == "pattern":
        about = error.schema.get("description", "").rstrip(".")
        return f"{found}; it must match {limit}{f' ({about})' if about else ''}"
    if rule == "format":
        return f"{found}: {error.cause}"
    if rule in ("minItems", "minProperties"):
        return f"{key} is empty; it must have at least {limit} entry"
    if rule == "anyOf":
        return f"{found}; it must be {' or '.join(map(_alternative, limit))}"
    return f"{found}: {error.message}"


def _alternative(schema: dict[str, Any]) -> str:
    """What one of several allowed kinds of value looks like."""
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    least = f" of at least {schema['minimum']}" if "minimum" in schema else ""
    kind = schema.get("type", "another value")
    return f"of type {' or '.join([kind] if isinstance(kind, str) else kind)}{least}"


def suggest(value: Any, known: Iterable[Any]) -> str:
    """For a message: the one of `known` that was probably meant; empty where none is near."""
    close = difflib.get_close_matches(str(value)[:LONGEST_NAME], [str(k) for k in known], n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _follow(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = {**target, **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def _has_default(schema: dict[str, Any], root: dict[str, Any]) -> bool:
    return "default" in _follow(schema, root)


def _default(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    return fill_defaults(_follow(schema, root)["default"], schema, root)
