"""The pruning methods on single linear layers, in float64, with numpy alone and no code of Calibrant's.

Written from the papers and from what the published codes do, one step after the other, for reading and not for speed.
W is a weight [rows = outputs, cols = inputs]; `sequences` are the inputs that the layer saw, each [tokens, cols];
a keep-mask is bool [rows, cols], true where a weight is kept. A sparsity is a share to prune (0.6) or the pair (n, m):
n weights are kept of every m neighbours in a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Sequences = Sequence[Floats]
Sparsity = float | tuple[int, int]
DecoderLayer = dict[str, tuple[Floats, Sequences]]


@dataclass
class Margin:
    """How near the nearest decision was, relative to the numbers compared: rounding below it changes no mask."""

    nearest: float = np.inf

    def between(self, a: float, b: float, scale: float = 0.0) -> None:
        """Note a decision that hangs on which of two numbers is larger."""
        size = max(abs(a), abs(b), scale)
        self.nearest = min(self.nearest, abs(a - b) / size if size else 0.0)


def squared_norms(sequences: Sequences) -> Floats:
    """[cols]: the mean over sequences (not tokens) of the sum over tokens of x²."""
    return sum((x**2).sum(axis=0) for x in sequences) / len(sequences)


def summed_inputs(sequences: Sequences) -> Floats:
    """[cols]: the mean over sequences of the sum (not the mean) over tokens of x."""
    return sum(x.sum(axis=0) for x in sequences) / len(sequences)


def variances(sequences: Sequences) -> Floats:
    """[cols]: each sequence's own biased variance, averaged over tokens; differences between sequences do not count."""
    tokens = sum(len(x) for x in sequences)
    return sum(len(x) * ((x - x.mean(axis=0)) ** 2).mean(axis=0) for x in sequences) / tokens


def hessian(sequences: Sequences) -> Floats:
    """[cols, cols]: 2 / sequences times the sum of xᵀx."""
    return 2 / len(sequences) * sum(x.T @ x for x in sequences)


def lowest_of_each_row(scores: Floats, ratio: float, margin: Margin) -> Mask:
    """Each row loses its int(cols * ratio) lowest scores; of equal ones the lower column goes."""
    keep = np.ones(scores.shape, dtype=bool)
    count = int(scores.shape[1] * ratio)
    for row, values in enumerate(scores):
        order = np.argsort(values, kind="stable")
        keep[row, order[:count]] = False
        if 0 < count < len(order):
            margin.between(values[order[count - 1]], values[order[count]])
    return keep


def up_to_threshold(scores: Floats, ratio: float, margin: Margin) -> Mask:
    """Every score up to the one at place int(numel * ratio), from 0, goes: one more than asked, and its ties."""
    threshold = np.sort(scores, axis=None)[int(scores.size * ratio)]
    keep = scores > threshold
    if keep.any():
        margin.between(threshold, scores[keep].min())
    return keep


def n_of_every_m(scores: Floats, n: int, m: int, margin: Margin) -> Mask:
    """Of every m neighbours in a row the n highest scores stay; of equal ones the lower column goes."""
    keep = np.ones(scores.shape, dtype=bool)
    for row, values in enumerate(scores):
        for start in range(0, len(values), m):
            order = start + np.argsort(values[start : start + m], kind="stable")
            keep[row, order[: m - n]] = False
            if 0 < n < m:
                margin.between(values[order[m - n - 1]], values[order[m - n]])
    return keep


def magnitude(W: Floats, sparsity: Sparsity, margin: Margin) -> Mask:
    """The smallest |W| of the whole layer, or of every m neighbours."""
    if isinstance(sparsity, tuple):
        return n_of_every_m(np.abs(W), *sparsity, margin)
    return up_to_threshold(np.abs(W), sparsity, margin)


def wanda_scores(W: Floats, sequences: Sequences) -> Floats:
    """|W_ij| times the norm of input j."""
    return np.abs(W) * np.sqrt(squared_norms(sequences))


def wanda(W: Floats, sequences: Sequences, sparsity: Sparsity, margin: Margin) -> Mask:
    """The lowest scores of each row, or of every m neighbours."""
    scores = wanda_scores(W, sequences)
    if isinstance(sparsity, tuple):
        return n_of_every_m(scores, *sparsity, margin)
    return lowest_of_each_row(scores, sparsity, margin)


def ria(W: Floats, sequences: Sequences, sparsity: Sparsity, exponent: float, margin: Margin) -> Mask:
    """|W_ij| as a share of its column and of its row, times a power of input j's norm; the whole layer competes."""
    size = np.abs(W)
    scores = np.empty_like(size)
    norms = np.sqrt(squared_norms(sequences))
    for i in range(size.shape[0]):
        for j in range(size.shape[1]):
            share = size[i, j] / size[:, j].sum() + size[i, j] / size[i].sum()
            scores[i, j] = share * norms[j] ** exponent
    if isinstance(sparsity, tuple):
        return n_of_every_m(scores, *sparsity, margin)
    return up_to_threshold(scores, sparsity, margin)


def sparsegpt(
    W: Floats, sequences: Sequences, sparsity: Sparsity, damping: float, block: int, margin: Margin
) -> tuple[Mask, Floats]:
    """Keep-mask and updated weights, by the optimal brain surgeon from the first column to the last.

    When column j's turn comes, the weights before it are fixed, so what counts is the inverse of the Hessian without
    them. Pruning w costs w² / inverse_jj, and the weights after it make up for it by -w / inverse_jj * inverse_j.
    With a share to prune, a block of columns is chosen at once when it is reached (threshold over all its weights);
    with n of m, every m columns, with the weights as they are by then.
    """
    W, H = W.copy(), hessian(sequences)
    rows, cols = W.shape
    dead = np.diag(H) == 0  # inputs that are always zero
    H[dead, dead] = 1
    W[:, dead] = 0
    H += damping * np.diag(H).mean() * np.eye(cols)
    inverses = [np.linalg.inv(H[j:, j:]) for j in range(cols)]  # [0, 0] of each belongs to column j
    keep = np.ones((rows, cols), dtype=bool)
    step = sparsity[1] if isinstance(sparsity, tuple) else block
    for j in range(cols):
        if j % step == 0:
            chosen = range(j, min(j + step, cols))
            costs = np.stack([W[:, k] ** 2 / inverses[k][0, 0] for k in chosen], axis=1)
            if isinstance(sparsity, tuple):
                keep[:, chosen] = n_of_every_m(costs, *sparsity, margin)
            else:
                keep[:, chosen] = up_to_threshold(costs, sparsity, margin)
        for i in range(rows):
            if not keep[i, j]:
                W[i, j:] -= W[i, j] / inverses[j][0, 0] * inverses[j][0]
                W[i, j] = 0
    return keep, W


def dsnot(
    W: Floats,
    sequences: Sequences,
    sparsity: Sparsity,
    threshold: float,
    max_cycles: int,
    variance_power: float,
    margin: Margin,
) -> Mask:
    """Wanda's mask, in which pairs of weights of a row (n of m: of a group) then change places."""
    keep = wanda(W, sequences, sparsity, margin)
    scores = wanda_scores(W, sequences)
    sums = summed_inputs(sequences)
    for summed in sums:
        margin.between(summed, 0, scale=np.abs(sums).mean())
    C = W * sums  # what a weight adds to the output, summed over the tokens
    gains = C / variances(sequences) ** variance_power
    m = sparsity[1] if isinstance(sparsity, tuple) else None
    for row in range(len(W)):
        _swap(keep[row], C[row], gains[row], scores[row], m, threshold, max_cycles, margin)
    return keep


def _swap(
    keep: Mask, C: Floats, gains: Floats, scores: Floats, m: int | None, threshold: float, cycles: int, margin: Margin
) -> None:
    """One row, in place. A weight changes its state once: lists are drawn from the first mask, and taken from once.

    The error is the sum of C over the pruned weights. Where it is positive, the pruned weight of the greatest gain
    comes back, else that of the least. For it goes, of the kept weights whose C has the opposite effect, that of the
    lowest Wanda score; with n of m, that of the lowest in the group of the one that came back, whatever its C, and
    only if the error keeps its first sign. A row ends when there is none to swap.

    Raises:
        ValueError: a list is used up where the published codes go on with what lies next in memory; such a row is no
        example for anybody.
    """
    scale = float(np.abs(C).sum())
    pruned, first = np.flatnonzero(~keep).tolist(), np.flatnonzero(keep).tolist()
    kept = first.copy()
    error = float(sum(C[j] for j in pruned))
    first_sign = np.sign(error)
    for _ in range(cycles):
        margin.between(abs(error), threshold, scale)
        if abs(error) <= threshold:
            return
        margin.between(error, 0, scale)
        sign = np.sign(error)
        comebacks = [j for j in pruned if sign * C[j] > 0]
        if not comebacks:  # next in the published order are the weights kept at first, as zeros, by their columns
            if not keep[max(first) if sign > 0 else min(first)]:
                raise ValueError("the published order would bring back a weight that only just went")
            return
        back = _first(comebacks, -sign * gains, margin)
        if m is None:
            leavers = [j for j in kept if sign * C[j] < 0]
            if not leavers:
                raise ValueError("the published order would go on with weights of the other sign")
        else:
            leavers = [j for j in kept if j // m == back // m]
            if not leavers:
                return
        gone = _first(leavers, scores, margin)
        after = error + C[gone] - C[back]
        if m is not None:
            margin.between(after, 0, scale)
            if np.sign(after) != first_sign:
                return
        keep[back], keep[gone] = True, False
        pruned.remove(back)
        kept.remove(gone)
        error = after


def _first(candidates: list[int], values: Floats, margin: Margin) -> int:
    """The candidate with the lowest value."""
    order = sorted(candidates, key=lambda j: values[j])
    if len(order) > 1:
        margin.between(values[order[0]], values[order[1]])
    return order[0]


def count_outliers(layer: DecoderLayer, times: float, margin: Margin) -> tuple[int, int]:
    """A decoder layer's outliers (Wanda scores above `times` their mean, all linears in one pool), and its weights."""
    pool = np.concatenate([wanda_scores(W, sequences).ravel() for W, sequences in layer.values()])
    bar = times * pool.mean()
    for score in pool:
        margin.between(score, bar)
    return int((pool > bar).sum()), len(pool)


def owl_sparsities(percents: Sequence[float], sparsity: Sparsity, width: float, margin: Margin) -> list[Sparsity]:
    """A sparsity for each decoder layer from its share of outliers in percent: more of them, less pruned.

    Shares to prune span exactly 2 * width, and their plain mean is the one asked for; 0 or below becomes 0.01. With
    n of m, n moves by whole steps of what spans 1 * width, halves going to the even number, and the mean may drift.
    """
    lowest, extent = min(percents), max(percents) - min(percents)
    stretched = [(p - lowest) / extent * (width if isinstance(sparsity, tuple) else 2 * width) for p in percents]
    shifts = [s - sum(stretched) / len(stretched) for s in stretched]
    if not isinstance(sparsity, tuple):
        return [ratio if ratio > 0 else 0.01 for ratio in (sparsity - shift for shift in shifts)]
    n, m = sparsity
    for shift in shifts:
        margin.between(abs(shift) % 1, 0.5, scale=1)
    return [(n + round(shift), m) for shift in shifts]


def owl(
    layers: Sequence[DecoderLayer], sparsity: Sparsity, width: float, times: float, margin: Margin
) -> tuple[list[Sparsity], list[dict[str, Mask]]]:
    """Each decoder layer's sparsity, and Wanda's masks with it."""
    counts = [count_outliers(layer, times, margin) for layer in layers]
    sparsities = owl_sparsities([100 * found / of for found, of in counts], sparsity, width, margin)
    masks = []
    for layer, own in zip(layers, sparsities, strict=True):
        for W, _ in layer.values():
            if not isinstance(own, tuple):
                pruned = W.shape[1] * own
                margin.between(pruned, round(pruned))
        masks.append({name: wanda(W, sequences, own, margin) for name, (W, sequences) in layer.items()})
    return sparsities, masks
