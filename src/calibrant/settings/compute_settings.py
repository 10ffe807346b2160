"""On what a stage computes, and by which kernels."""

from dataclasses import dataclass

from calibrant.settings.setting import Settings, setting

DTYPES = ("auto", "float32", "bfloat16", "float16")
CHANGED_BY_ROUNDING = "whose results differ by rounding (docs/performance.md)"


@dataclass(frozen=True, kw_only=True)
class DeviceSettings(Settings):
    """In which format and on which device."""

    dtype: str = setting(
        "auto",
        "number format; auto is the checkpoint's own where the device computes it at float32's rate or better, else "
        "float32",
        choices=DTYPES,
    )
    device: str = setting(
        "auto",
        "cpu, cuda, cuda:N, mps (Apple's GPU) or auto, which takes a GPU when there is one",
        pattern="auto|cpu|mps|cuda(:[0-9]{1,4})?",
        wanted="cpu, cuda, cuda:N, mps or auto",
    )


@dataclass(frozen=True, kw_only=True)
class ComputeSettings(DeviceSettings):
    """On what a stage computes that runs the model."""

    threads: int = setting(
        0,
        "CPU threads; 0 leaves PyTorch's default. Part of the result, since the order of additions depends on it",
        least=0,
        most=4096,
        wanted="0 (PyTorch's default) or more, up to 4096",
    )
    resolved: str | None = setting(
        None,
        "what auto was resolved to where the study began (its number-format.json); auto is then that",
        metavar="FILE",
    )


@dataclass(frozen=True, kw_only=True)
class PassSettings(ComputeSettings):
    """How the forward passes of a pruning run are computed."""

    activations: str = setting(
        "auto",
        "where the calibration set's activations lie; auto takes the disk for sets larger than a quarter of the free "
        "memory (same result)",
        choices=("auto", "memory", "disk"),
    )
    attention: str = setting(
        "auto",
        f"sdpa: PyTorch's kernel; auto takes a faster one on the CPU, {CHANGED_BY_ROUNDING}",
        choices=("auto", "sdpa"),
    )
    products: str = setting(
        "auto",
        "plain: PyTorch's matrix products; auto takes faster ones for float32 on x86 processors, "
        f"{CHANGED_BY_ROUNDING}",
        choices=("auto", "plain"),
    )
