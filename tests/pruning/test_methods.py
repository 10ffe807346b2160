"""Names, patterns and options: what is composed, and the messages for what does not exist."""

import pytest

from calibrant.errors import InputError
from calibrant.pruning.methods.composition import METHODS, compose, options_of
from calibrant.pruning.methods.criteria import CRITERIA
from calibrant.settings import method_options, method_targets
from calibrant.settings.method_targets import QUANTIZERS, WITHOUT_DATA
from calibrant.settings.sparsity import GROUP_OF_OPTION, NM, Unstructured, parse_sparsity
from calibrant.settings.target import parse_target


def test_sparsity_is_a_share_or_n_kept_of_m() -> None:
    assert parse_sparsity("0.6") == Unstructured(0.6)
    assert parse_sparsity("1:4") == NM(1, 4)
    assert parse_sparsity("1:4").sparsity == 0.75


@pytest.mark.parametrize(
    "text", ["0", "0.0", "1.2", "1", "-0.1", "nan", "inf", "5:4", "4:4", "0:4", "2:0", "2:4:8", "60%", "half"]
)
def test_wrong_sparsity_says_what_is_allowed(text: str) -> None:
    with pytest.raises(InputError, match=r"between 0 and 1, such as 0\.6, or N:M") as error:
        parse_sparsity(text)
    assert f"sparsity {text}:" in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_method_lists_those_that_exist() -> None:
    with pytest.raises(InputError, match=f"method wander: unknown; use {', '.join(sorted(METHODS))}"):
        compose("wander", "0.5")


def test_published_defaults() -> None:
    assert compose("owl", "0.6").settings["owl.lambda"] == 0.08
    assert compose("owl", "0.6").settings["owl.m"] == 5
    assert compose("owl", "2:4").settings["owl.lambda"] == 2
    assert compose("owl", "2:4").settings["owl.m"] == 6
    dsnot = compose("dsnot", "0.5").settings
    assert (dsnot["dsnot.scope"], dsnot["dsnot.max_cycles"], dsnot["dsnot.threshold"]) == ("attention", 50, 0.1)
    assert compose("sparsegpt", "0.5").settings["sparsegpt.damping"] == 0.01
    assert compose("wanda", "0.5").settings["sequential"] == "layer"


@pytest.mark.parametrize(
    ("method", "group"), [("magnitude", "layer"), ("wanda", "row"), ("ria", "layer"), ("dsnot", "row")]
)
def test_each_method_has_its_own_group(method: str, group: str) -> None:
    composed = compose(method, "0.5")
    assert isinstance(composed.pattern, Unstructured)
    assert composed.settings["group"] == group
    assert composed.pattern.group == GROUP_OF_OPTION[group]


def test_refined_magnitude_starts_within_rows() -> None:
    assert compose("dsnot", "0.5", {"dsnot.initial": "magnitude"}).settings["group"] == "row"


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("wanda", {"owl.lambda": "1"}, "method wanda has no such option; it has exclude, fused, group, sequential"),
        ("owl", {"owl.lambda": "wide"}, "option owl.lambda=wide: must be a number, at least 0"),
        ("owl", {"owl.lambda": "-1"}, "option owl.lambda=-1: must be a number, at least 0"),
        ("owl", {"owl.lambda": "nan"}, "option owl.lambda=nan: must be a number"),
        ("owl", {"owl.lambda": "inf"}, "option owl.lambda=inf: must be a number"),
        ("dsnot", {"dsnot.variance_power": "-inf"}, "option dsnot.variance_power=-inf: must be a number"),
        ("owl", {"owl.criterion": "ria"}, "must be one of wanda, magnitude, sparsegpt"),
        ("owl", {"owl.exact_target": "yes"}, "must be one of false, true"),
        ("dsnot", {"dsnot.max_cycles": "2.5"}, "must be a whole number, at least 0"),
        ("dsnot", {"group": "layer"}, "swaps weights within rows"),
        ("sparsegpt", {"group": "row"}, "selects in blocks of columns"),
        ("wanda", {"sequential": "parallel"}, "must be one of layer, sublayer, dense"),
    ],
)
def test_wrong_options_are_refused(method: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compose(method, "0.5", options)


def test_group_does_not_go_with_n_of_m() -> None:
    with pytest.raises(InputError, match="competes in groups of M"):
        compose("wanda", "2:4", {"group": "row"})


def test_options_of_the_chosen_criterion_come_with_it() -> None:
    composed = compose("owl", "0.5", {"owl.criterion": "sparsegpt", "sparsegpt.block_size": "64"})
    assert composed.settings["sparsegpt.block_size"] == 64
    assert composed.updates_weights
    assert not compose("dsnot", "0.5", {"dsnot.initial": "sparsegpt"}).updates_weights


def usual_target(method: str) -> str:
    return "w4g64" if method in QUANTIZERS else "0.5"


def test_the_methods_that_need_no_data() -> None:
    assert {name for name in METHODS if not compose(name, usual_target(name)).calibrated} == set(WITHOUT_DATA)


@pytest.mark.parametrize(
    ("method", "target", "message"),
    [
        ("wanda", "w4g64", "method wanda: prunes, and w4g64 gives no sparsity"),
        ("wanda", "0.5+w4", "method wanda: does not quantize, so it does not take 0.5\\+w4"),
        ("gptq", "0.5", "method gptq: quantizes, and 0.5 gives no width; give --bits"),
        ("rtn", "2:4+w4", "method rtn: prunes nothing, so it does not take 2:4\\+w4"),
    ],
)
def test_a_target_that_a_method_cannot_compress_to(method: str, target: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compose(method, target)


def test_awq_does_not_go_from_linear_to_linear() -> None:
    with pytest.raises(InputError, match="option sequential=sublayer: method awq scales what lies before"):
        compose("awq", "w4", {"sequential": "sublayer"})


def test_the_names_that_settings_know_are_those_of_the_registries() -> None:
    """The settings name methods without importing them, so that a study's parse stays light."""
    assert set(method_targets.CRITERIA) == set(CRITERIA)
    assert set(method_targets.METHODS) == set(METHODS)
    options = {o.name for name in METHODS for o in options_of(name, parse_target(usual_target(name)))}
    options |= {o.name for c in CRITERIA.values() for o in c.options}
    assert options == set(method_options.option_schemas())
