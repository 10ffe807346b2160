"""Quantizers: how weights become codes of few bits. One file each, one line in the registry."""

from calibrant.pruning.methods.quantizers import awq, gptq, rtn, wrtn
from calibrant.pruning.methods.quantizers.quantizer import Quantizer

QUANTIZERS: dict[str, Quantizer] = {
    "rtn": rtn.QUANTIZER,
    "wrtn": wrtn.QUANTIZER,
    "gptq": gptq.QUANTIZER,
    "awq": awq.QUANTIZER,
}
