"""Rates of this computer: how long measuring takes, and that what comes out is a machine of the cost model."""

import math
import time
from collections.abc import Callable

import pytest
import torch

import calibrant.models.decoders.block_attention  # noqa: F401 (what importing takes is no part of the measurement)
from calibrant.models import rates
from calibrant.models.compute.hardware import hardware
from calibrant.models.compute.number_formats import suited
from calibrant.models.rates import machine_here, measured_rates
from calibrant.study.machines import HERE, NAMES, machine

MEASURED = {"products", "attention", "float32", "bandwidth"}
LONGEST = 10.0  # processor seconds: "about two" on a calm machine, more where clocks or caches are shared


def test_measuring_takes_seconds_and_agrees_with_itself() -> None:
    found, agreed = [], False
    while not agreed and len(found) < 4:  # what another program does may fall on one of them
        begin = time.process_time()
        found.append(measured_rates(torch.float32))
        assert time.process_time() - begin < LONGEST
        assert set(found[-1]) == MEASURED
        assert all(math.isfinite(rate) and rate > 0 for rate in found[-1].values())
        agreed = len(found) > 1 and all(0.5 < rate / found[-2][name] < 2 for name, rate in found[-1].items())
    assert agreed, found


def test_an_emulated_format_is_slower_than_float32() -> None:
    if suited(torch.bfloat16, hardware(torch.device("cpu"))) is not False:
        pytest.skip("this processor may have units for bfloat16")
    begin = time.process_time()
    emulated, plain = measured_rates(torch.bfloat16), measured_rates(torch.float32)
    assert time.process_time() - begin < 2 * LONGEST
    assert emulated["products"] < plain["products"]
    assert emulated["attention"] < plain["attention"]
    assert emulated["float32"] == pytest.approx(plain["float32"], rel=0.5)


def test_this_computer_as_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def measure(dtype: torch.dtype, threads: int, length: int) -> dict[str, float]:
        given.append((dtype, threads, length))
        return dict.fromkeys(MEASURED, 7e9)

    monkeypatch.setattr(rates, "measured_rates", measure)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    found = machine_here(torch.bfloat16, threads=16, length=128)
    assert given == [(torch.bfloat16, 2, 128)]  # no more threads than cores
    assert (found.name, found.dtype, set(found.assumptions)) == (HERE, "bfloat16", set(NAMES))
    where = hardware(torch.device("cpu")).text
    assert found.label == f"this computer ({where})"
    assert found.assumptions["products"].origin == f"measured now on {where}, bfloat16, 2 threads"
    assert found.assumptions["float32"].origin == f"measured now on {where}, float32, 2 threads"
    like = machine("avx512-bf16")
    assert found.rates.choose == like.rates.choose
    assert found.assumptions["choose"].origin.endswith(f"; of {like.label}")
    assert (found.rates.memory, found.at_once) == (0, 1)
    assert machine_here(torch.float32).at_once == 2
    assert machine_here(torch.float32).assumptions["choose"].value == machine("avx2").rates.choose
    assert machine_here(torch.float16).rates.start == machine("avx2").rates.start  # no processor of the table has it


def test_threads_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), []

    def fail(dtype: torch.dtype) -> float:
        seen.append(torch.get_num_threads())
        raise RuntimeError("stopped")

    monkeypatch.setattr(rates, "layer_rate", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        measured_rates(torch.float32, threads=before + 1)
    assert (seen, torch.get_num_threads()) == ([before + 1], before)


def test_bandwidth_is_what_a_step_takes_besides_its_products(monkeypatch: pytest.MonkeyPatch) -> None:
    def bandwidth(step: float, products: float) -> float:
        monkeypatch.setattr(rates, "seconds", lambda run: step)
        return rates.bandwidth(torch.float32, products)

    monkeypatch.setattr(rates, "READ", 4 * 1536 * 576)  # a single matrix
    numbers, flop = 1536 * 576, 2 * rates.DECODED * 1536 * 576
    assert bandwidth(2.0, flop / 0.75) == pytest.approx(4 * numbers / 1.25)
    assert bandwidth(2.0, flop / 1.9) == pytest.approx(4 * numbers / 1.0)  # at least half of the step


def test_attention_is_measured_with_the_kernel_that_pruning_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[torch.dtype] = []

    def run_once(run: Callable[[], object]) -> float:
        run()
        return 1.0

    monkeypatch.setattr(rates, "seconds", run_once)
    monkeypatch.setattr(rates, "block_attention", lambda q, k, v: used.append(q.dtype))
    monkeypatch.setattr(
        "calibrant.models.decoders.block_attention.LENGTHS", {torch.float32: (64, 96), torch.bfloat16: (16, None)}
    )
    for length in (32, 64, 96, 128):
        assert rates.attention_rate(torch.float32, length) == 2 * 576 * length * length
    assert used == [torch.float32] * 2
    rates.attention_rate(torch.bfloat16, 128)
    rates.attention_rate(torch.float16, 128)
    assert used == [torch.float32] * 2 + [torch.bfloat16]
