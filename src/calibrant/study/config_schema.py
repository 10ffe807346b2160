"""The JSON schema of a configuration: its shape from `config.schema.yaml`, the meaning of its keys from the settings.

A key `{setting: generate.top_k}` there is that setting of that stage: its help, type, bounds and default. What else the
key says, such as another default, goes before.
"""

from functools import cache
from pathlib import Path
from typing import Any

from calibrant.settings.method_options import option_schemas
from calibrant.settings.method_targets import METHODS
from calibrant.settings.setting import described, json_schema
from calibrant.settings.stage_settings import STAGE_SETTINGS
from calibrant.study.yaml_mappings import read_yaml

SHAPE = Path(__file__).with_name("config.schema.yaml")
REFERENCE = "setting"
METHOD_OPTIONS = "method options"  # stands for the options of all methods
METHOD_NAMES = "methods"  # stands for their names, and `dense`


@cache
def config_schema() -> dict[str, Any]:
    """The schema of a configuration, complete."""
    resolved: dict[str, Any] = _resolve(read_yaml(SHAPE))
    return resolved


def setting_schema(reference: str) -> dict[str, Any]:
    """The schema of one setting by STAGE.NAME.

    Raises:
        KeyError: there is no such stage or setting.
    """
    stage, _, name = reference.partition(".")
    found = {each.name: each for each in described(STAGE_SETTINGS[stage])}
    return json_schema(found[name])


def _resolve(value: Any) -> Any:
    """The same with every reference replaced."""
    if isinstance(value, list):
        return [_resolve(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("properties") == METHOD_OPTIONS:
        return {**value, "properties": option_schemas()}
    if value.get("enum") == METHOD_NAMES:
        return {**value, "enum": ["dense", *METHODS]}
    resolved = {key: _resolve(item) for key, item in value.items() if key != REFERENCE}
    if isinstance(value.get(REFERENCE), str):
        return {**setting_schema(value[REFERENCE]), **resolved}
    return resolved
