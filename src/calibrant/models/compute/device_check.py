"""Apple's GPU is taken by `auto` only after its logits were found to be the CPU's. Written to be run by others."""

import logging

import torch
from torch import nn

from calibrant.models.compute.devices import apple_gpu

PROBE = 32  # tokens on which both are compared
TOLERANCE = {torch.float32: 1e-3}  # mean difference of logits over their standard deviation
TOLERANCE_OF_HALVES = 0.1  # as for `decoder_choice.fast_decoder`

log = logging.getLogger(__name__)


def prefer_apple_gpu(model: nn.Module) -> nn.Module:
    """A model on the CPU, moved to Apple's GPU where there is one that gives the CPU's logits; else as it was."""
    if next(model.parameters()).device.type != "cpu" or not apple_gpu():
        return model
    return move_where_equal(model, torch.device("mps"))


def move_where_equal(model: nn.Module, device: torch.device) -> nn.Module:
    """A causal language model on `device` if its logits on a few tokens are the same there, else where it was."""
    expected = probe_logits(model)
    home = next(model.parameters()).device
    try:
        found = probe_logits(model.to(device))
    except (RuntimeError, NotImplementedError, TypeError) as error:  # an operation or a format that it does not have
        log.warning("device %s: not used, it cannot run this model (%s)", device.type, str(error).splitlines()[0])
        return model.to(home)
    if not equal_logits(expected, found, next(model.parameters()).dtype):
        log.warning("device %s: not used, its logits are not the CPU's", device.type)
        return model.to(home)
    log.warning("device %s: its logits on %d tokens are the CPU's", device.type, PROBE)
    return model


def probe_logits(model: nn.Module) -> torch.Tensor:
    """Logits, float32 on the CPU, of tokens spread over the vocabulary."""
    vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    ids = torch.tensor([[(i + 1) * vocabulary // (PROBE + 1) for i in range(PROBE)]])
    with torch.no_grad():
        logits: torch.Tensor = model(ids.to(next(model.parameters()).device), use_cache=False).logits
    return logits.float().cpu()


def equal_logits(expected: torch.Tensor, found: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether logits differ by no more than rounding in this format does."""
    bound = TOLERANCE.get(dtype, TOLERANCE_OF_HALVES) * float(expected.std())
    return bool(found.isfinite().all()) and float((expected - found).abs().mean()) <= bound
