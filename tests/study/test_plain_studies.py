"""Whatever stands in a study's file, it is taken as it is meant or refused in one line, before anything runs."""

import contextlib
import copy
import datetime
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibrant.errors import InputError
from calibrant.settings.stage_settings import PlanSettings
from calibrant.stages.plan import plan
from calibrant.stages.study_check import check_files, check_study
from calibrant.study.config import resolve_config
from calibrant.study.config_schema import config_schema
from calibrant.study.paths import RESERVED
from calibrant.study.strict_yaml import parse
from calibrant.study.yaml_mappings import read_yaml

ROOT = Path(__file__).parents[2]
BASE: dict[str, Any] = {"preset": "tiny", "experiment": "sources"}
OWN: dict[str, Any] = {**BASE, "sources": {"web": {"files": ["web.jsonl"], "heldout": 0.3}}}
OWL = [{"methods": ["owl"], "targets": ["0.5"]}]


def refusal(**keys: Any) -> str:
    """What is said of a study with these keys."""
    with pytest.raises(InputError) as caught:
        check_study(resolve_config({**BASE, **keys}), "config.yaml")
    assert len(str(caught.value)) < 1500
    return str(caught.value)


def places(schema: dict[str, Any], value: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of the keys that a schema knows, sections and what is in them, and of what a study has besides."""
    found = []
    for key in {**schema.get("properties", {}), **value}:
        found.append((*path, key))
        inner = value.get(key)
        below = schema.get("properties", {}).get(key, {})
        if below.get("properties") or isinstance(inner, dict):
            found += places(below, inner if isinstance(inner, dict) else {}, (*path, key))
    return found


WHOLE: dict[str, Any] = {
    **OWN,
    "model": {"path": "x"},
    "tasks": {"piqa": {"files": {"test": "x"}}},
    "grids": [{"methods": ["wanda", "owl"], "targets": ["0.5"], "sources": ["web"]}],
}
GRID = [("grids", 0, key) for key in config_schema()["$defs"]["grid"]["properties"]]
PLACES = [*places(config_schema(), WHOLE), *GRID, ("grids", 0, "methods", 0), ("grids", 0, "targets", 0)]
ODD = st.one_of(
    st.sampled_from(
        [
            math.nan,
            math.inf,
            -math.inf,
            10**30,
            10**5000,
            -1,
            0,
            1,
            2.0,
            0.5,
            1e308,
            True,
            None,
            "",
            "x",
            "x\n",
            "\0",
            "\ud800",
        ]
    ),
    st.sampled_from(
        [[], {}, [None], [[]], {"x": 1}, {1: "x"}, {None: 1}, ["web", "web"], "../x", "(", "٤", "2:٤", b"x", set()]
    ),
    st.just(datetime.date(2026, 1, 1)),
    st.recursive(st.text(max_size=3) | st.integers(), lambda inner: st.lists(inner, max_size=2), max_leaves=3),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(place=st.sampled_from(PLACES), value=ODD)
def test_a_study_is_taken_or_refused_and_nothing_else(place: tuple[Any, ...], value: Any) -> None:
    study: Any = copy.deepcopy(WHOLE)
    at = study
    for key in place[:-1]:
        at = at[key] if isinstance(at, list) else at.setdefault(key, {})
    at[place[-1]] = value
    with contextlib.suppress(InputError):
        check_study(resolve_config(study), "config.yaml")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"generation": {"temperature": math.nan}}, "generation.temperature is nan; it must be a finite number"),
        ({"seeds": 10**30}, "seeds is 1000000000000000000000000000000; it must be a number of at most"),
        ({"seeds": 10**5000}, "seeds is a number of thousands of digits"),
        ({"seeds": 10**9}, "grids: one asks for 6,000,000,000 calibration sets"),
        ({"seeds": 2.0}, "seeds is 2.0; it must be of type integer"),
        ({"axes": 5}, "axes is 5; it must be of type object"),
        ({"study": "ab\n"}, r"study is 'ab\n'; it must match"),
        ({"study": "a" * 65}, "it must match"),
        ({"sources": {"web\n": {"files": ["x.txt"]}}}, r"sources has the name 'web\n'; it must match"),
        ({"sources": {"all": {"files": ["x.txt"]}}}, "sources has the name 'all'"),
        ({"sources": {1: {"files": ["x.txt"]}}}, "sources has the key 1, which is no text; write it in quotes"),
        ({"model": {"path": "x\0y"}}, r"model.path is 'x\x00y', which holds a control character (U+0000)"),
        ({"title": "\ud800"}, r"title is '\ud800', which holds half of a character (U+D800)"),
        ({"title": "x" * 200_000}, "more than 100,000 characters"),
        ({"compute": {"device": "$(touch x)cpu"}}, "compute.device is '$(touch x)cpu'; it must match"),
        ({"compute": {"device": "cuda:٤"}}, "compute.device is 'cuda:٤'"),
        ({"pruning": {"options": {"exclude": "("}}}, "pruning.options.exclude is '(': not a regular expression"),
        (
            {"pruning": {"options": {"owl.lambda": 0.6}}, "grids": OWL},
            "at target 0.5: option owl.lambda=0.6: must be a number, at",
        ),
        (
            {
                "pruning": {"options": {"sequential": "sublayer"}},
                "grids": [{"methods": ["awq"], "targets": ["w4"]}],
            },
            "pruning.options: sequential is sublayer, and awq scales",
        ),
        (
            {"grids": [{"methods": ["wanda"], "targets": ["w4"]}]},
            "grids.0 at target w4: method wanda: prunes",
        ),
        ({"layout": {"name": "tabel1"}}, "layout.name is 'tabel1'; there are table1"),
        ({"layout": {"name": "table1", "parameters": {"x": 1}}}, "layout.parameters: table1 takes no x; it takes none"),
        ({"layout": {"name": "figure5", "parameters": {"min_k": {"setting": "x.y"}}}}, "there is no setting x.y"),
        ({"inspect": {"method": "wnada"}}, "inspect.method is 'wnada'"),
        ({"extends": "nosuch"}, "extends is 'nosuch'; only a preset's own file says what it is laid over"),
        ({"calibration": {"packing_of": {"x": "document"}}}, "calibration.packing_of is 'x', which is no source"),
        ({"grids": [{"methods": ["wanda"], "targets": ["0.5"], "sources": 99}]}, "grids.0.sources is 99"),
        ({"sources": {"a": {"files": ["x.txt"], "clean": ["foo"]}}}, "sources.a.clean: unknown step 'foo'"),
        ({"sources": {"a": {"files": ["x.xyz"]}}}, "sources.a.files: x.xyz: files that end in .xyz are not read"),
        ({"sources": {"a": {"files": ["{a}.txt"], "heldout": 0.5}}}, "names the file {a}.txt; rename it"),
        ({"sources": {"a": {"files": ["x.txt"]}}}, "tasks.next_sentence_a is made of held-out documents of a"),
        (
            {"sources": {"a": {"files": ["x.txt"], "revision": "main"}}},
            "sources.a.revision: only a hub data set has it",
        ),
        ({"tasks": {"piqa": {"files": {"../../x": "x.jsonl"}}}}, "tasks.piqa.files has the name '../../x'"),
    ],
)
def test_mistakes_are_named(keys: dict[str, Any], said: str) -> None:
    assert said in refusal(**keys)


@pytest.mark.parametrize("name", RESERVED)
def test_a_study_takes_no_name_of_the_checkouts_own(name: str) -> None:
    assert f"study is {name}, a name of Calibrant's own" in refusal(study=name)


def test_every_folder_that_the_checkout_has_is_reserved() -> None:
    made = re.findall(r"\breports/([a-z][\w-]*(?:\.md)?)", (ROOT / "Makefile").read_text())
    tracked = ["README.md", "kept", *made]
    assert {name.lower() for name in tracked} <= set(RESERVED)


def test_a_file_where_a_study_would_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").touch()
    assert "study is mine, but data/mine is a file" in refusal(study="mine")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "line 2: the key a is given twice"),
        ("s: {a: {x: 1}, a: {x: 2}}", "the key a is given twice"),
        ("no: x", "the key no is read as bool; write it in quotes"),
        ("1: x", "the key 1 is read as int"),
        ("? [a]\n: x", "a key must be a text"),
        ("t: 2026-13-45", "2026-13-45 is read as a date; write it in quotes"),
        ("t: 2026-01-01 99:99:99", "is read as a date"),
        ("s: 2:4", "2:4 is read as a number in another notation; write it in quotes"),
        ("s: 010", "010 is read as a number in another notation"),
        (f"s: {'9' * 5000}", "99… (5,000 characters) is no int"),
        (f"t: {'[' * 3000}{']' * 3000}", "nested more than 40 levels deep"),
        ("t: !foo x", "could not determine a constructor for the tag '!foo'"),
        ("t: !!python/object/apply:os.system ['touch pwned']", "could not determine a constructor"),
        ("t: !!bool maybe", "maybe is no bool"),
        ("t: !!int ''", "is read as a number in another notation"),
        ("a: 1\n---\na: 2", "another document"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_yaml_that_is_read_in_two_ways_or_not_at_all(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, "my.yaml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("my.yaml: cannot be read as YAML (")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_what_grows_is_refused_and_plain_merges_are_not() -> None:
    merges = "".join(f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9))
    with pytest.raises(InputError, match="a mapping of more than 1000 keys"):
        parse(f"a0: &a0 {{path: x}}\n{merges}", "my.yaml")
    lists = "".join(f"- &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    with pytest.raises(InputError, match="title holds more than 20,000 values"):
        resolve_config({**BASE, "title": parse(f"- &a0 [x,x,x,x,x,x,x,x,x]\n{lists}", "my.yaml")})
    itself: dict[str, Any] = {}
    itself["a"] = itself
    with pytest.raises(InputError, match="more than 40 levels"):
        resolve_config({**BASE, "title": itself})
    assert parse("x: &a {s: 1, t: 2}\ny: {<<: *a, t: 3}", "my.yaml") == {"x": {"s": 1, "t": 2}, "y": {"s": 1, "t": 3}}


# Not U+0085, a line break of YAML, which PyYAML writes as it is and folds to a blank itself.
WRITTEN = st.text(st.characters(exclude_characters="\x85"), max_size=5)


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | WRITTEN,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WRITTEN, inner, max_size=3),
        max_leaves=6,
    )
)
def test_what_yaml_writes_is_read_as_it_was(value: Any) -> None:
    assert parse(yaml.safe_dump(value, allow_unicode=True), "my.yaml") == value


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "link.yaml").symlink_to("nowhere")
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_000_001)
    (tmp_path / "latin.yaml").write_bytes(b"title: caf\xe9\n")
    for name, said in {
        "fifo.yaml": "it is no ordinary file",
        "link.yaml": "no such file",
        "large.yaml": "1,000,001 bytes; at most 1,000,000",
        "latin.yaml": "can't decode byte 0xe9",
        ".": "it is a folder",
        "x" * 300: "File name too long",
        "a\0b": "null byte",
    }.items():
        with pytest.raises(InputError, match=said):
            read_yaml(tmp_path / name)
    with pytest.raises(InputError, match="it is no ordinary file"):
        read_yaml("/dev/null")


def test_files_are_looked_at_before_the_first_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = resolve_config({**OWN, "study": "mine"})

    def said() -> str:
        with pytest.raises(InputError) as caught:
            check_files(config, "my.yaml")
        return str(caught.value)

    assert said() == "my.yaml: sources.web: web.jsonl: no such file"
    os.mkfifo("web.jsonl")
    assert "sources.web: the file web.jsonl: is a pipe" in said()
    Path("web.jsonl").unlink()
    Path("web.jsonl").write_text('{"txt": "x"}\n')
    assert "sources.web: web.jsonl: line 1 has no column 'text' (text_key); there are txt" in said()
    Path("my.yaml").write_text(yaml.safe_dump({**OWN, "study": "mine"}))
    with pytest.raises(InputError, match="there are txt"):
        plan("my.yaml", PlanSettings(counts=True))
    Path("web.jsonl").write_text('{"text": "x"}\n')
    check_files(config, "my.yaml")
    Path("web.jsonl").unlink()
    Path("data/mine/sources/web").mkdir(parents=True)
    for name in ("documents.parquet", "heldout.parquet", "provenance.json"):  # fetched already: the file may be gone
        assert said() == "my.yaml: sources.web: web.jsonl: no such file"
        Path("data/mine/sources/web", name).touch()
    check_files(config, "my.yaml")


def test_a_study_outside_a_checkout_has_the_default_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("preset: tiny\n")
    assert "experiment sources" in plan("my.yaml", PlanSettings(counts=True))


@pytest.mark.parametrize("name", ["parameters", "products"])
@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "x", ""])
def test_a_rate_is_a_finite_number(name: str, text: str) -> None:
    with pytest.raises(InputError, match=f"--set {name}={text}: must be NAME=NUMBER"):
        plan("tiny", PlanSettings(set={name: text}))
