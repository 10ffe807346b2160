"""DSnoT: swap pruned and kept weights of a row to lower its expected error (Zhang et al. 2024; zyxxmu/DSnoT)."""

import torch
from torch import Tensor

from calibrant.pruning.methods.criteria import wanda
from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.pruning.methods.refinements.refinement import Refinement
from calibrant.settings.method_options import OPTIONS, MethodSettings, number
from calibrant.settings.sparsity import NM, Pattern


def refine(
    weight: Tensor, score: Tensor, keep: Tensor, statistics: Statistics, pattern: Pattern, settings: MethodSettings
) -> Tensor:
    """A keep-mask [rows, cols] with as many weights in every row (N:M: in every group) as `keep`.

    A row's error is the sum over its pruned weights of C_ij = W_ij * (summed input j). Each cycle regrows
    the pruned weight that lowers it most relative to its input's variance, and prunes a kept one:
    unstructured, the lowest Wanda score whose C has the opposite effect; N:M, the lowest first score in the
    same group of M. A row ends when |error| is within dsnot.threshold, after dsnot.max_cycles, or when its
    next weight to regrow is not pruned or the one to prune not kept (so that counts are exact).
    """
    assert statistics.sums is not None
    C = weight * statistics.sums
    pruned_C = C.masked_fill(keep, 0)
    error = pruned_C.sum(1, keepdim=True)
    first_sign = error.sign()
    regrow_order = _by_variance(pruned_C, statistics, settings).sort(dim=1, stable=True).indices
    regrow = _Ends(regrow_order)
    prune = (
        _GroupMinimum(score, keep, pattern.m) if isinstance(pattern, NM) else _Ends(_order(weight, C, keep, statistics))
    )
    threshold, cycles = number(settings, "dsnot.threshold"), int(number(settings, "dsnot.max_cycles"))
    keep = keep.clone()
    active = torch.ones_like(error, dtype=torch.bool)
    for _ in range(min(cycles, weight.shape[1])):
        grown = regrow.take(error > 0)
        dropped = prune.in_group(grown) if isinstance(prune, _GroupMinimum) else prune.take(error < 0)
        change = C.gather(1, dropped) - C.gather(1, grown)
        active &= error.abs() > threshold
        active &= ~keep.gather(1, grown) & keep.gather(1, dropped)
        if isinstance(pattern, NM):
            active &= (error + change).sign() == first_sign
        if not bool(active.any()):
            break
        keep.scatter_(1, dropped, keep.gather(1, dropped) & ~active)
        keep.scatter_(1, grown, keep.gather(1, grown) | active)
        error += torch.where(active, change, 0)
    return keep


def applies(name: str, settings: MethodSettings) -> bool:
    """`attention` (the published default) leaves everything outside attention with its first mask; `all` does not."""
    return settings["dsnot.scope"] == "all" or any("att" in part.lower() for part in name.split(".")[:-1])


def _by_variance(pruned_C: Tensor, statistics: Statistics, settings: MethodSettings) -> Tensor:
    """C / var^p; a feature without variance and without sum has no say (0 / 0)."""
    assert statistics.variance is not None
    power = number(settings, "dsnot.variance_power")
    return torch.nan_to_num(pruned_C / statistics.variance.pow(power), nan=0.0, posinf=torch.inf, neginf=-torch.inf)


def _order(weight: Tensor, C: Tensor, keep: Tensor, statistics: Statistics) -> Tensor:
    """Kept columns [rows, kept]: from the left those with negative C by rising Wanda score, from the right the others.

    The columns with C = 0 come between; as published, their places repeat the column of lowest score.
    """
    scores = wanda.score(weight, statistics, {}).masked_fill(~keep, torch.inf)
    kept = int(keep[0].sum())
    columns = scores.sort(dim=1, stable=True).indices[:, :kept]
    signs = C.gather(1, columns).sign()
    places = torch.arange(kept, device=C.device).expand_as(columns)
    negative = torch.where(signs < 0, places, kept).sort(1).values
    positive = torch.where(signs > 0, places, kept).sort(1).values.flip(1)
    joined = negative.masked_fill(negative == kept, 0) + positive.masked_fill(positive == kept, 0)
    ordered: Tensor = columns.gather(1, joined)
    return ordered


class _Ends:
    """Columns of each row taken one after the other from the right or the left end of an order [rows, n]."""

    def __init__(self, order: Tensor) -> None:
        self._order = order
        self._left = torch.zeros_like(order[:, :1])
        self._right = torch.full_like(self._left, order.shape[1] - 1)

    def take(self, from_right: Tensor) -> Tensor:
        """The next column of every row [rows, 1]; the last one again when an end has run over the order."""
        place = torch.where(from_right, self._right, self._left).clamp(0, self._order.shape[1] - 1)
        self._right -= from_right.long()
        self._left += (~from_right).long()
        return self._order.gather(1, place)


class _GroupMinimum:
    """The kept column with the lowest score in a column's group of M, each column given once."""

    def __init__(self, score: Tensor, keep: Tensor, m: int) -> None:
        self._score = score.masked_fill(~keep, torch.inf)
        self._m = m

    def in_group(self, column: Tensor) -> Tensor:
        """[rows, 1] -> [rows, 1]; the group's first column when none is left."""
        group = column // self._m * self._m + torch.arange(self._m, device=column.device)
        best = group.gather(1, self._score.gather(1, group).argmin(1, keepdim=True))
        self._score.scatter_(1, best, torch.inf)
        return best


REFINEMENT = Refinement(
    refine,
    applies,
    needs=frozenset({"norm", "moments"}),
    options=OPTIONS["dsnot"],
)
