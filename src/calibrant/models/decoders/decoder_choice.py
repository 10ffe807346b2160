"""Whether our own decoder runs a model: by its configuration, its modules, and its own logits on a few tokens."""

import logging
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from calibrant.errors import InputError, reason_of
from calibrant.models.decoders.decoder import Decoder
from calibrant.models.families.decoder_plan import UnlikeError
from calibrant.models.families.recognition import beyond

log = logging.getLogger(__name__)

PROBE = 8  # tokens on which both forward passes are compared
LONGEST_PROBE = 64  # tokens, where layers with a window would show a difference only beyond it
TOLERANCE = {torch.bfloat16: 0.1, torch.float16: 0.1}  # mean difference of logits, over their standard deviation
EXACT_TOLERANCE = 1e-3
_known: "WeakKeyDictionary[nn.Module, tuple[list[tuple[int, int]], Decoder]]" = WeakKeyDictionary()  # by its model
_said: set[str] = set()


def unsupported(model: Any) -> str | None:
    """Why a loaded model cannot be run by our decoder, or None when it can, by its configuration and its modules."""
    return _made(model, pack=False)[1] or None


def _made(model: Any, pack: bool | None) -> tuple[Decoder | None, str]:
    try:
        formats = {parameter.dtype for parameter in model.get_decoder().parameters()}
        if len(formats) > 1:
            return None, "its weights have several number formats"
        return Decoder(model, pack=pack), ""
    except UnlikeError as error:
        return None, str(error)
    except (AttributeError, TypeError) as error:
        return None, f"it is a {type(model).__name__}, not a language model of transformers ({error})"


def checked_decoder(model: Any, *, pack: bool | None = None) -> tuple[Decoder | None, str]:
    """Our decoder of a model, by its configuration and its own logits on a few tokens; or None, and the reason.

    Raises:
        InputError: transformers cannot run the model either.
    """
    decoder, reason = _made(model, pack)
    if decoder is None:
        return None, reason
    difference = _difference(model, decoder)
    if not difference <= TOLERANCE.get(decoder.dtype, EXACT_TOLERANCE):
        return None, f"a probe gave other logits than its config says (by {difference:.2g} of their spread)"
    return decoder, ""


def fast_decoder(model: Any, length: int = 0) -> Decoder | None:
    """Our decoder of a model on the CPU, whose weights may change in place; None, and a line in the log, without one.

    Of a model whose weights are what they were when it was last asked for, it is that decoder again. `length` is the
    longest text's, in tokens, where that is known.
    """
    versions = [(parameter.data_ptr(), parameter._version) for parameter in model.parameters()]
    if (known := _known.get(model)) is not None and known[0] == versions:
        return None if _too_long(model, known[1], length) else known[1]
    if {parameter.device.type for parameter in model.parameters()} != {"cpu"}:
        return None
    made, reason = checked_decoder(model)
    if made is None:
        say_slow(model, reason)
        return None
    _known[model] = (versions, made)
    return None if _too_long(model, made, length) else made


def _too_long(model: Any, decoder: Decoder, length: int) -> bool:
    reason = beyond(decoder.plan, length)
    if reason is not None:
        say_slow(model, reason)
    return reason is not None


def say_slow(model: Any, reason: str) -> None:
    """Log, once for each kind of model, that transformers' modules run it."""
    line = f"{type(model).__name__}: transformers runs it, more slowly than our own decoder would, since {reason}"
    if line not in _said:
        _said.add(line)
        log.warning("%s", line)


@torch.no_grad()
def _difference(model: Any, decoder: Decoder) -> float:
    """Mean difference of both models' logits on two short rows, over the logits' standard deviation."""
    past_windows = {rule.window + PROBE for rule in decoder.rules if rule.window is not None}
    lengths = [max(PROBE, *(length for length in (PROBE, *past_windows) if length <= LONGEST_PROBE)), PROBE - 3]
    vocabulary = decoder.vocabulary
    # spread over the vocabulary: special tokens, which stand at its ends, magnify rounding
    rows = [[(i + 1) * vocabulary // (length + 1) for i in range(length)] for length in lengths]
    tokens = [token for row in rows for token in row]
    positions = [place for length in lengths for place in range(length)]
    ids = (torch.tensor([row], device=decoder.device) for row in rows)
    try:
        expected = torch.cat([model(input_ids=row, use_cache=False).logits[0] for row in ids])
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(f"{type(model).__name__}: its own forward pass fails ({reason_of(error)})") from error
    found = decoder.head(decoder(tokens, positions, decoder.attention(lengths)))
    if found.shape != expected.shape:
        return torch.inf
    return float((expected.float() - found.float()).abs().mean() / expected.float().std())
