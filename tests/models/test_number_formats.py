"""`auto` is what a device computes well; every stage of a study computes in the one format that it resolved to."""

import json
import logging
from pathlib import Path

import pytest
import torch

from calibrant.errors import InputError
from calibrant.models.checkpoint import resolution
from calibrant.models.compute import number_formats
from calibrant.models.compute.hardware import DISTANT_GPU, Hardware, hardware
from calibrant.models.compute.number_formats import choose_number_format, dtype_name, relative_rate, suited

CPU = torch.device("cpu")
B, F, H = torch.bfloat16, torch.float32, torch.float16


def x86(*features: str) -> Hardware:
    return Hardware("processor", "x86_64", frozenset(features))


def arm(*features: str, architecture: str = "aarch64") -> Hardware:
    return Hardware("processor", architecture, frozenset(features))


AVX2 = x86("avx2")
AVX512 = x86("avx2", "avx512_f")
AVX512_BF16 = x86("avx2", "avx512_f", "avx512_bf16")
AMX = x86("avx2", "avx512_f", "avx512_bf16", "avx512_fp16", "amx_bf16")
NEON, NEON_BF16 = arm("neon", "fp16_arith"), arm("neon", "fp16_arith", "bf16", "sve")
M1, M2 = (arm("neon", *more, architecture="arm64") for more in ((), ("bf16",)))
T4, A100 = (Hardware("nvidia", compute_capability=version) for version in ((7, 5), (8, 0)))
P100 = Hardware("nvidia", compute_capability=(6, 0))
UNSURE = (NEON_BF16, M2, Hardware("apple"), x86("avx2", "avx_ne_convert"), arm(architecture="riscv64"), x86())


def never(dtype: torch.dtype, device: torch.device) -> float:
    raise AssertionError("the device has said it; nothing is to be measured")


@pytest.mark.parametrize(
    ("device", "checkpoint", "chosen"),
    [
        (AVX2, B, F), (AVX512, B, F), (AVX512_BF16, B, B), (AMX, B, B), (x86("avx2", "avx10_2"), B, B),
        (NEON, B, F), (M1, B, F), (T4, B, F), (A100, B, B), (P100, B, F), (DISTANT_GPU, B, B),
        (AVX2, H, F), (AVX512_BF16, H, F), (M1, H, F), (T4, H, H), (A100, H, H), (P100, H, F),
        *((device, F, F) for device in (AVX2, AMX, NEON_BF16, T4, A100)),
        *((device, None, F) for device in (AVX2, AMX, NEON_BF16, T4, A100)),
        (AMX, torch.float8_e4m3fn, F), (AMX, torch.float64, F),
    ],
)  # fmt: skip
def test_what_the_device_says_decides(device: Hardware, checkpoint: torch.dtype | None, chosen: torch.dtype) -> None:
    found = choose_number_format("auto", checkpoint, CPU, described=device, rate=never)
    assert (found.dtype, found.cost) == (chosen, None)


@pytest.mark.parametrize(
    "device", [NEON_BF16, M2, Hardware("apple"), x86("avx2", "avx_ne_convert"), arm(architecture="riscv64")]
)
@pytest.mark.parametrize(("share", "chosen"), [(0.14, F), (0.99, F), (1.0, B), (3.2, B)])
def test_where_the_device_does_not_say_a_measurement_does(device: Hardware, share: float, chosen: torch.dtype) -> None:
    assert suited(B, device) is None
    found = choose_number_format("auto", B, CPU, described=device, rate=lambda dtype, _: share if dtype == B else 1.0)
    assert found.dtype == chosen
    assert f"{share:.2g} times float32's rate" in (found.reason or "")


@pytest.mark.parametrize(
    ("device", "name"), [(AVX2, "bfloat16"), (A100, "float32"), (AMX, "float16"), (T4, "bfloat16")]
)
def test_a_given_format_is_obeyed_and_its_cost_said(device: Hardware, name: str) -> None:
    rates = {F: 1.0 if device == AVX2 else 0.2, B: 0.15 if device in (AVX2, T4) else 1.0, H: 0.4}
    found = choose_number_format(name, B, CPU, described=device, rate=lambda dtype, _: rates[dtype])
    assert dtype_name(found.dtype) == name
    assert found.reason is None
    assert found.cost is not None
    assert name in found.cost
    assert device.text in found.cost


def test_a_given_format_that_costs_nothing_is_not_spoken_of() -> None:
    assert choose_number_format("bfloat16", B, CPU, described=AMX, rate=never).cost is None
    assert choose_number_format("float32", B, CPU, described=AVX2, rate=never).cost is None
    assert choose_number_format("float32", B, CPU, described=AMX, rate=lambda dtype, _: 1.0).cost is None


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(InputError, match="--dtype int8: unknown number format; use float32, bfloat16, float16 or auto"):
        choose_number_format("int8", None, CPU)


def test_this_machine_is_described_and_measured() -> None:
    """The device's word and the measurement agree where the device says no: emulation is slow."""
    here = hardware(CPU)
    assert here.kind == "processor"
    assert here.architecture in here.text
    assert relative_rate(F, CPU) == 1.0
    share = relative_rate(B, CPU)
    assert 0 < share < 1000
    if suited(B, here) is False:
        assert share < 1
    if suited(B, here) is True:
        assert share > 0.5


def test_what_was_decided_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_formats, "_said", set())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            choose_number_format("auto", B, CPU, described=AVX2).say()
    reason = "the checkpoint's bfloat16 would be slow, this x86_64 processor with AVX2 has no units for it"
    assert caplog.messages == [f"number format float32: {reason}"]


def model_folder(folder: Path, dtype: str | None) -> Path:
    folder.mkdir()
    config = {"model_type": "llama", **({} if dtype is None else {"dtype": dtype})}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(("machine", "dtype"), [(AVX2, "float32"), (AMX, "bfloat16")])
def test_a_study_resolves_auto_once_and_other_machines_say_that_they_differ(
    tmp_path: Path, machine: Hardware, dtype: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, output = model_folder(tmp_path / "model", "bfloat16"), tmp_path / "number-format.json"
    monkeypatch.setattr(resolution, "hardware", lambda device: machine)
    resolution.write_resolved(output, model, "cpu")
    record = json.loads(output.read_text())
    assert record == {
        "dtype": dtype,
        "checkpoint": "bfloat16",
        "device": "cpu",
        "hardware": machine.text,
        "reason": record["reason"],
    }
    for other in (AVX2, AMX):
        monkeypatch.setattr(resolution, "hardware", lambda device, other=other: other)
        caplog.clear()
        assert resolution.resolved_dtype(output, "cpu") == dtype
        [message] = caplog.messages
        if other == machine:
            assert message == f"number format {dtype}: as number-format.json says"
        else:
            assert f"number format {dtype}: the study resolved auto to it on {machine.text}" in message
            assert other.text in message


def test_a_login_node_takes_gpus_elsewhere_for_new_ones(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    model = model_folder(tmp_path / "model", "bfloat16")
    found = resolution.write_resolved(tmp_path / "number-format.json", model, "cuda")
    assert found.dtype == B
    assert json.loads((tmp_path / "number-format.json").read_text())["hardware"] == "GPU"


@pytest.mark.parametrize("content", ["[]", '{"dtype": "int8"}', "{}", "not JSON"])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "number-format.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"number-format\.json"):
        resolution.read_resolved(file)
