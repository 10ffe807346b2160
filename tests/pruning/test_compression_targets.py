"""What a model is compressed to: how targets are read, named, ordered and labelled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrant.errors import InputError
from calibrant.settings.method_targets import METHODS, QUANTIZERS, baseline, check_target
from calibrant.settings.stage_settings import PruneSettings
from calibrant.settings.target import Target, Width, of_file_name, parse_target, target_of

PATTERNS = st.one_of(
    st.integers(1, 999).map(lambda n: f"{n / 1000:g}"),
    st.tuples(st.integers(1, 7), st.integers(8, 16)).map(lambda nm: f"{nm[0]}:{nm[1]}"),
)
WIDTHS = st.tuples(st.integers(2, 8), st.one_of(st.none(), st.integers(2, 4096))).map(
    lambda found: f"w{found[0]}" + ("" if found[1] is None else f"g{found[1]}")
)
TARGETS = st.one_of(PATTERNS, WIDTHS, st.tuples(PATTERNS, WIDTHS).map("+".join))


@given(TARGETS)
def test_a_target_has_one_spelling_that_is_read_back(text: str) -> None:
    target = parse_target(text)
    assert str(target) == text
    assert of_file_name(target.file_name) == target
    assert ":" not in target.file_name
    flags = dict(zip(target.arguments[::2], target.arguments[1::2], strict=True))
    bits, group = flags.get("--bits"), flags.get("--group")
    assert target_of(flags.get("--sparsity"), bits and int(bits), group and int(group)) == target  # type: ignore[arg-type]


def test_spellings_of_one_target() -> None:
    assert str(parse_target(" 0.60 ")) == "0.6"
    assert str(parse_target("0.50+w4g64")) == "0.5+w4g64"


def test_order_and_labels() -> None:
    texts = ["0.5+w4g64", "w2g64", "2:4", "w4", "0.6", "w8g64", "w4g64", "4:8", "0.3", "w4g32"]
    ordered = sorted(map(parse_target, texts), key=lambda target: target.order)
    assert [str(each) for each in ordered] == [
        *("0.3", "0.6", "4:8", "2:4", "w8g64", "w4g32", "w4g64", "w4", "w2g64", "0.5+w4g64")
    ]
    assert parse_target("0.6").label == "60 %"
    assert parse_target("2:4").label == "2:4"
    assert parse_target("w4").label == "4 bits"
    assert parse_target("0.5+w4g64").label == "50 % and 4 bits, group 64"


@pytest.mark.parametrize("text", ["", "w", "w4g", "g64", "w4+0.5", "w4g64+w3", "w-4", "w4.5", "0.5+", "w4 g64", "W4"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(InputError, match=r"such as (0\.6|w4)"):
        parse_target(text)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"bits": 0}, "--bits 0: must be at least 2 and at most 8"),
        ({"bits": 1}, "--bits 1: must be at least 2 and at most 8"),
        ({"bits": 9}, "--bits 9: must be at least 2 and at most 8"),
        ({"bits": 4, "group": 1}, "--group 1: must be 2 or more columns"),
        ({"group": 64}, "--group 64: says how many columns share a scale, and no --bits are given"),
        ({}, "--sparsity: not given; give --sparsity"),
        ({"sparsity": "1.5"}, "--sparsity 1.5: outside 0 to 1"),
    ],
)
def test_flags_that_give_no_target(flags: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PruneSettings(method="gptq", **flags)  # type: ignore[arg-type]


@pytest.mark.parametrize("bits", [0, 1, 9, 64])
def test_widths_that_no_method_takes(bits: int) -> None:
    with pytest.raises(InputError, match=f"bits {bits}: must be 2 to 8"):
        Width(bits)


def test_every_target_has_methods_and_a_baseline() -> None:
    for text in ("0.5", "2:4", "w4g64", "0.5+w4g64"):
        target = parse_target(text)
        check_target(baseline(target), target)
    assert {name for name in METHODS if name in QUANTIZERS} == {"rtn", "wrtn", "gptq", "awq"}
    assert Target(width=Width(4)).sparsity == 0
