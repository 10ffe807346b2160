"""What a device says of itself, on which the number format depends.

PyTorch is asked, so this is the same on Linux, macOS and Windows. A processor without features is one that PyTorch
could not ask, as on Linux without /proc.
"""

import platform
from dataclasses import dataclass

import torch

from calibrant.models.compute.devices import on_gpu

# PyTorch's names of what decides how fast a format is computed -> the names that processors' makers use.
INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512_f": "AVX-512",
    "avx512_bf16": "AVX512-BF16",
    "avx512_fp16": "AVX512-FP16",
    "amx_bf16": "AMX-BF16",
    "amx_fp16": "AMX-FP16",
    "avx10_2": "AVX10.2",
    "avx_ne_convert": "AVX-NE-CONVERT",
    "neon": "NEON",
    "fp16_arith": "NEON FP16",
    "bf16": "NEON BF16",
    "sve": "SVE",
    "sme": "SME",
}


@dataclass(frozen=True)
class Hardware:
    """A device as far as number formats care.

    kind: `processor`, `nvidia` (any GPU of PyTorch's CUDA) or `apple` (a GPU of PyTorch's MPS).
    architecture: of a processor, `x86_64`, `aarch64` or `arm64`.
    features: names out of INSTRUCTION_SETS that a processor has.
    compute_capability: of an NVIDIA GPU; None for other devices, and for a GPU of another machine (DISTANT_GPU).
    """

    kind: str
    architecture: str = ""
    features: frozenset[str] = frozenset()
    compute_capability: tuple[int, int] | None = None

    @property
    def text(self) -> str:
        """How messages and reports call it: `x86_64 processor with AVX2`, `GPU of compute capability 8.0`."""
        if self.kind == "processor":
            named = [text for name, text in INSTRUCTION_SETS.items() if name in self.features]
            name = f"{self.architecture} processor"
            return f"{name} with {', '.join(named)}" if named else name
        if self.kind == "apple":
            return "Apple GPU"
        if self.compute_capability is None:
            return "GPU"
        return f"GPU of compute capability {'.'.join(map(str, self.compute_capability))}"


DISTANT_GPU = Hardware("nvidia")


def hardware(device: torch.device) -> Hardware:
    """What a device of this machine says of itself."""
    if not on_gpu(device):
        found = torch.cpu.get_capabilities()
        features = frozenset(name for name in INSTRUCTION_SETS if found.get(name))
        return Hardware("processor", str(found.get("architecture") or platform.machine()), features)
    if device.type == "cuda":
        return Hardware("nvidia", compute_capability=torch.cuda.get_device_capability(device))
    return Hardware("apple")
