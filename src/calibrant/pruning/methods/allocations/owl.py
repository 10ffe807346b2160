"""OWL: layers with more outliers are pruned less (Yin et al. 2024; luuyin/OWL)."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from calibrant.errors import InputError
from calibrant.pruning.methods.allocations.allocation import Allocation
from calibrant.pruning.methods.criteria import wanda
from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.settings.method_options import MethodSettings, number, owl_options
from calibrant.settings.sparsity import NM, Pattern

Floats = npt.NDArray[np.float64]
LEAST = 0.01  # what the reference prunes of a layer whose ratio comes out at 0 or below


def observe(linears: Mapping[str, tuple[Tensor, Statistics]], settings: MethodSettings) -> float:
    """Outlier ratio of a decoder layer in percent: Wanda scores above owl.m times their mean, all linears pooled."""
    scores = [wanda.score(weight, statistics, settings).flatten() for weight, statistics in linears.values()]
    if not scores:
        return 0.0
    pooled = torch.cat(scores)
    outliers = int((pooled > pooled.mean() * number(settings, "owl.m")).sum())
    return outliers / pooled.numel() * 100


def allocate(
    pattern: Pattern, observations: Sequence[float], sizes: Sequence[int], settings: MethodSettings
) -> list[Pattern]:
    """One pattern for each decoder layer, from its outlier ratio.

    Ratios: a range of exactly 2 * owl.lambda, shifted so that the unweighted mean over layers is the target;
    0 or below becomes 0.01. N:M: the number kept of M moves by whole steps within a range of owl.lambda, and
    its mean is not brought back to the target, so the sparsity drifts (0 pruned leaves a layer dense).
    With `owl.exact_target` the mean weighted by the layers' sizes meets the target instead, as near as whole
    steps allow.

    Raises:
        InputError: a layer would lose all its weights.
    """
    exact = settings["owl.exact_target"] is True
    width = number(settings, "owl.lambda")
    weights = np.asarray(sizes, dtype=np.float64)
    if isinstance(pattern, NM):
        shift = _spread(observations, width)
        kept = _whole_steps_exact(pattern, shift, weights) if exact else pattern.n + np.round(shift)
        if kept.min() < 1:
            raise _too_wide(int(kept.argmin()), f"keep {max(int(kept.min()), 0)} of {pattern.m} weights", settings)
        return [NM(int(n), pattern.m) for n in np.minimum(kept, pattern.m)]
    ratios = pattern.ratio - _spread(observations, 2 * width)
    if exact:
        ratios = _shift_to_target(ratios, weights, pattern.ratio)
    elif (ratios <= 0).any():
        few = ", ".join(str(layer) for layer in np.flatnonzero(ratios <= 0))
        warnings.warn(
            f"OWL: owl.lambda={width:g} leaves decoder layer {few} nothing to prune; {LEAST:g} is pruned there as "
            "published, and more than asked of the whole model",
            stacklevel=2,
        )
        ratios = np.where(ratios <= 0, LEAST, ratios)
    if ratios.max() >= 1:
        raise _too_wide(int(ratios.argmax()), f"lose a share of {ratios.max():.3f} of its weights", settings)
    return [replace(pattern, ratio=float(ratio)) for ratio in ratios]


def _spread(observations: Sequence[float], width: float) -> Floats:
    """Outlier ratios stretched to a range of `width`, with mean 0; layers that do not differ are not moved apart."""
    r = np.asarray(observations, dtype=np.float64)
    extent = r.max() - r.min()
    if extent == 0:
        return np.zeros_like(r)
    shift = (r - r.min()) / extent * width
    centred: Floats = shift - shift.mean()
    return centred


def _shift_to_target(ratios: Floats, sizes: Floats, target: float) -> Floats:
    """Add one constant to all ratios (never below 0.01) so that their mean weighted by size is the target."""
    low, high = -1.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        reached = np.average(np.maximum(ratios + middle, LEAST), weights=sizes)
        low, high = (middle, high) if reached < target else (low, middle)
    shifted: Floats = np.maximum(ratios + high, LEAST)
    return shifted


def _whole_steps_exact(pattern: NM, shift: Floats, sizes: Floats) -> Floats:
    """Numbers kept of M whose mean weighted by size is nearest the target: round down, then up where most is lost."""
    wanted = np.clip(pattern.n + shift, 1, pattern.m)
    kept = np.floor(wanted)
    missing = pattern.n * sizes.sum() - (kept * sizes).sum()
    for layer in np.argsort(-(wanted - kept), kind="stable"):
        if kept[layer] < pattern.m and sizes[layer] / 2 <= missing:
            kept[layer] += 1
            missing -= sizes[layer]
    return kept


def _too_wide(layer: int, consequence: str, settings: MethodSettings) -> InputError:
    return InputError(
        f"option owl.lambda={number(settings, 'owl.lambda'):g}: decoder layer {layer} would {consequence}; "
        "give a smaller owl.lambda (0.08 for ratios and 2 for N:M are the published ones)"
    )


ALLOCATION = Allocation(allocate, observe, needs=frozenset({"norm"}), options=owl_options)
