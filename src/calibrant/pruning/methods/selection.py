"""From scores to masks: the lowest scores of each group are pruned, ties settled explicitly."""

import numpy as np
import torch
from torch import Tensor

from calibrant.errors import InputError
from calibrant.settings.sparsity import NM, Pattern, Unstructured


def select(score: Tensor, pattern: Pattern) -> Tensor:
    """Keep-mask of a layer, bool [rows, cols], from scores [rows, cols] (higher is kept).

    Rows lose int(cols * ratio) weights each, as in Wanda; a whole linear layer loses every weight up to the score
    at place int(numel * ratio), ties and that weight included, as in the published magnitude pruning.

    Raises:
        InputError: a score is not finite, or M does not divide the columns.
    """
    if not bool(torch.stack(score.aminmax()).isfinite().all()):  # a NaN anywhere is both
        raise InputError("the scores hold values that are not finite; the weights or the calibration inputs overflow")
    if isinstance(pattern, NM):
        rows, cols = score.shape
        check_divisible(cols, pattern.m)
        grouped = score.reshape(rows, cols // pattern.m, pattern.m)
        return keep_n_of_m(grouped, pattern.n).reshape(rows, cols)
    if pattern.group == "row":
        return prune_lowest_per_row(score, int(score.shape[1] * pattern.ratio))
    return prune_below_threshold(score, pattern)


def check_divisible(cols: int, m: int) -> None:
    """Refuse N:M on a row that groups of M do not fill.

    Raises:
        InputError: M does not divide the input features.
    """
    if cols % m:
        raise InputError(f"its {cols} input features cannot be divided into groups of {m}")


def prune_lowest_per_row(score: Tensor, count: int) -> Tensor:
    """Keep-mask [rows, cols] in which each row loses its `count` lowest scores; of equals, the lower column goes.

    The same as a stable sort, at the cost of a selection: what lies below the count-th value goes, and of
    the weights equal to it the first ones, until the row's count is full.
    """
    if count == 0:
        return torch.ones_like(score, dtype=torch.bool)
    threshold = kth_smallest(score, count)
    pruned = score <= threshold
    tied = (pruned.sum(1, dtype=torch.int32) > count).nonzero().flatten()
    if len(tied):
        below = score[tied] < threshold[tied]
        equal = score[tied] == threshold[tied]
        room = count - below.sum(1, keepdim=True)
        pruned[tied] = below | (equal & (equal.cumsum(1) <= room))
    return ~pruned


def kth_smallest(score: Tensor, k: int) -> Tensor:
    """The k-th smallest value (from 1) of each row [rows, 1]; on the CPU numpy's selection is many times faster."""
    if score.device.type != "cpu":
        return score.kthvalue(k, dim=1, keepdim=True).values
    partitioned = np.partition(score.to(torch.float32).numpy(), k - 1, axis=1)
    return torch.from_numpy(partitioned[:, k - 1 : k].copy()).to(score.dtype)


def keep_n_of_m(score: Tensor, n: int) -> Tensor:
    """Keep-mask of scores [..., M] with exactly `n` kept along the last axis; of equals, the lower column goes.

    A weight's rank is the number of weights that go before it; comparing all pairs beats sorting for the
    small M of real patterns.
    """
    columns = score.unbind(-1)
    m = len(columns)
    ranks = [torch.zeros_like(columns[0], dtype=torch.int16) for _ in columns]
    for i in range(m):
        for j in range(i + 1, m):
            i_first = columns[i] <= columns[j]  # on a tie the lower column i is pruned first
            ranks[j] += i_first
            ranks[i] += ~i_first
    return torch.stack([rank >= m - n for rank in ranks], dim=-1)


def prune_below_threshold(score: Tensor, pattern: Unstructured) -> Tensor:
    """Keep-mask in which everything up to the layer's value at place int(numel * ratio) is pruned.

    That is the published rule (`metric <= sorted[k]`): at least k + 1 weights go, and every tie with them.
    """
    if pattern.ratio == 0:
        return torch.ones_like(score, dtype=torch.bool)
    # counting starts at 1, so place k of the sorted scores is the (k + 1)-th smallest
    threshold = kth_smallest(score.reshape(1, -1), int(score.numel() * pattern.ratio) + 1)
    return score > threshold
