"""A setting is said once: check, flag and schema agree on what is right."""

import argparse
import inspect
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import calibrant as cal
from calibrant.cli.flags import add_flags, read_settings
from calibrant.errors import InputError
from calibrant.settings.setting import Described, Settings, check, command_line, described, json_schema
from calibrant.settings.stage_settings import STAGE_SETTINGS, PruneSettings
from calibrant.stages.commands import COMMANDS, stage_of
from calibrant.study.validation import validate

EVERY = [(stage, each) for stage, chosen in STAGE_SETTINGS.items() for each in described(chosen)]
NAMES = [f"{stage}.{each.name}" for stage, each in EVERY]
WORDS = st.text(st.characters(codec="ascii", exclude_characters=",=\0"), min_size=1, max_size=6).filter(str.strip)


def of_kinds(*kinds: type) -> pytest.MarkDecorator:
    """A test of every setting of these kinds, by its name."""
    chosen = {name: each for name, (_, each) in zip(NAMES, EVERY, strict=True) if each.kind in kinds}
    return pytest.mark.parametrize("each", chosen.values(), ids=chosen)


def values(each: Described) -> st.SearchStrategy[Any]:
    """Values of the right type, in and out of bounds."""
    said = each.setting
    edges = [bound for bound in (said.least, said.above, said.most, said.below) if bound is not None]
    if each.kind is int:
        return st.integers(-5, 5) | st.sampled_from([int(edge) + d for edge in edges or [0] for d in (-1, 0, 1)])
    if each.kind is float:
        return st.floats(-2, 200) | st.sampled_from([edge + d for edge in edges or [0.0] for d in (-1e-3, 0.0, 1e-3)])
    if each.kind is bool:
        return st.booleans()
    choices = st.sampled_from(said.choices) if said.choices else WORDS
    if each.kind is str:
        return choices | WORDS
    if each.kind is tuple and each.setting.listing == "space":
        choices = choices.filter(lambda word: not word.startswith("-"))  # no asset's name does
    if each.kind is tuple:
        return st.lists(choices, max_size=3).map(tuple)
    return st.dictionaries(WORDS, st.integers(-2, 9) if each.number else WORDS, max_size=3)


def accepted(each: Described, value: Any) -> bool:
    try:
        check(each, value)
    except InputError:
        return False
    return True


@pytest.mark.parametrize(("stage", "each"), EVERY, ids=NAMES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_check_and_schema_agree(stage: str, each: Described, data: st.DataObject) -> None:
    value = data.draw(values(each))
    plain = list(value) if isinstance(value, tuple) else value
    try:
        validate({"key": plain}, {"properties": {"key": json_schema(each)}})
        schema_accepts = True
    except InputError:
        schema_accepts = False
    assert accepted(each, value) == schema_accepts, (value, json_schema(each))


@of_kinds(int, float)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "3", None])
def test_what_is_no_number_is_refused(each: Described, value: Any) -> None:
    if value is None and each.optional:
        assert accepted(each, value)
    else:
        assert not accepted(each, value)


@pytest.mark.parametrize("text", ["a\0b", "a\udcffb"], ids=["NUL", "half"])
@of_kinds(str, tuple, dict)
def test_what_is_no_text_is_refused(each: Described, text: str) -> None:
    value = {str: text, tuple: (text,), dict: {text: 1 if each.number else "1"}}[each.kind]
    assert not accepted(each, value)


@of_kinds(int, float)
@given(digits=st.integers(20, 5000))
@settings(max_examples=5)
def test_numbers_beyond_64_bits_are_refused(each: Described, digits: int) -> None:
    assert not accepted(each, 10**digits)


@pytest.mark.parametrize(("stage", "each"), EVERY, ids=NAMES)
def test_the_default_is_right(stage: str, each: Described) -> None:
    assert each.required or accepted(each, each.default)
    assert each.setting.help
    assert not each.setting.help.endswith(".")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name in STAGE_SETTINGS])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_flags_give_back_the_settings_that_they_were_made_of(command: str, data: st.DataObject) -> None:
    """What the workflow writes is what the command line reads, whatever stands in it."""
    stage = stage_of(command)
    assert stage.settings is STAGE_SETTINGS[command]
    wanted: dict[str, Any] = {}
    for each in described(STAGE_SETTINGS[command]):
        value = data.draw(values(each))
        if each.name == "sparsity":
            value = data.draw(st.sampled_from(["0.6", "2:4"]))
        elif each.name == "tasks":
            value = tuple(re.sub(r"[/\\.]", "x", name) for name in value)
        elif each.name == "exclude":
            value = re.escape(value)
        elif each.name in ("budget", "origins", "weight"):
            value = data.draw(
                st.sampled_from({"budget": ["60m", "24"], "weight": [{"use": "2"}]}.get(each.name, [("real",)]))
            )
        elif not accepted(each, value):
            value = each.setting.choices[0] if each.required else each.default
        if each.required or data.draw(st.booleans()):
            wanted[each.name] = value
    if wanted.get("tensor_parallel", 1) > 1:
        wanted["engine"] = "vllm"
    if wanted.get("fewshot"):
        wanted["tasks"] = wanted.get("tasks") or ("piqa",)
    if wanted.get("document_tokens"):
        wanted["text_average"] = "apart"
    if wanted.get("bos") == "never":
        wanted.pop("prefix_length", None)  # 0 would not go with it
    if wanted.get("group") is not None:
        wanted |= {"group": 64, "bits": wanted.get("bits") or 4}
    if command == "prune" and wanted.get("bits") is None and wanted.get("sparsity") is None:
        wanted["sparsity"] = "0.6"
    words = command_line(STAGE_SETTINGS[command], wanted)
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    add_flags(parser, stage)
    files = [word for file in stage.files if file.required for word in _given(file)]
    typed = parser.parse_args([*files, *words])
    assert read_settings(STAGE_SETTINGS[command], typed) == STAGE_SETTINGS[command](**wanted)


def _given(file: Any) -> list[str]:
    return ["x"] if file.flag == "" else [f"--{file.flag or file.name.replace('_', '-')}", "x"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_stage_takes_what_it_says(command: str) -> None:
    """The function's arguments are its files, its settings and nothing that the command line cannot give."""
    stage = stage_of(command)
    arguments = set(inspect.signature(stage.run).parameters) - {"progress"}
    assert arguments == {file.name for file in stage.files} | ({"settings"} if stage.settings else set())


def test_messages_say_flag_value_and_what_is_right() -> None:
    with pytest.raises(InputError, match=r"^--attention flash: unknown; use auto or sdpa$"):
        PruneSettings(method="wanda", sparsity="0.5", attention="flash")
    with pytest.raises(InputError, match=r"^--threads -1: must be 0 \(PyTorch's default\) or more, up to 4096$"):
        PruneSettings(method="wanda", sparsity="0.5", threads=-1)


def test_the_door_refuses_what_belongs_elsewhere() -> None:
    with pytest.raises(InputError, match=r"^settings: are SampleSettings; this stage takes PruneSettings$"):
        cal.prune("model", None, "masks.safetensors", cal.SampleSettings())
    with pytest.raises(InputError, match=r"^texts story.txt: must be a list of files"):
        cal.evaluate("model", "out.json", texts="story.txt")
    with pytest.raises(InputError, match="sparsity 0: prunes nothing"):
        cal.PruneSettings(method="wanda", sparsity="0")
    with pytest.raises(InputError, match=r'^--sparsity 0\.5: must be a text, "0\.5"$'):
        cal.PruneSettings(method="wanda", sparsity=0.5)
    with pytest.raises(InputError, match=r"--option owl.lambda=0.05: must be a text"):
        cal.PruneSettings(method="owl", sparsity="0.5", option={"owl.lambda": 0.05})


def test_settings_cannot_be_changed() -> None:
    found = PruneSettings(method="wanda", sparsity="0.5")
    with pytest.raises(AttributeError):
        found.method = "ria"  # type: ignore[misc]
    assert isinstance(found, Settings)
