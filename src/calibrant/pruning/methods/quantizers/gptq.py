"""GPTQ: round column by column, and make up for each error in the columns after it (Frantar et al. 2023)."""

import torch
from torch import Tensor

from calibrant.pruning.methods.error_feedback import settle_columns
from calibrant.pruning.methods.hessian_factor import inverse_factor
from calibrant.pruning.methods.input_statistics import Statistics
from calibrant.pruning.methods.quantizers.quantized_columns import QuantizedColumns
from calibrant.pruning.methods.quantizers.quantizer import Quantizer
from calibrant.pruning.quantized_weight import QuantizedWeight
from calibrant.settings.method_options import OPTIONS, MethodSettings, number
from calibrant.settings.target import Width


def quantize(weight: Tensor, statistics: Statistics, width: Width, settings: MethodSettings) -> QuantizedWeight:
    """Codes of a weight [rows, cols].

    With `gptq.act_order` columns are settled by the Hessian's diagonal, the largest first; groups are then runs of
    columns in that order, unless `gptq.static_groups` takes their ranges beforehand from the weight's own order. Dead
    inputs (always zero) get weight zero.

    Raises:
        InputError: the Hessian cannot be factored.
    """
    assert statistics.hessian is not None
    as_published = weight.dtype == torch.float32 and bool(settings["gptq.published"])
    diagonal = statistics.hessian.diag()
    alive = torch.where(diagonal == 0, 1, diagonal)  # as the factor has them
    order = alive.argsort(descending=True, stable=True) if settings["gptq.act_order"] else None
    factor, dead = inverse_factor(statistics, number(settings, "gptq.damping"), as_published, order)
    given = weight.to(torch.float32)
    W = (given if order is None else given[:, order]).masked_fill(dead, 0).T.contiguous()
    columns = QuantizedColumns(
        W,
        given if width.group is None else given.masked_fill(diagonal == 0, 0),
        width,
        symmetric=bool(settings["symmetric"]),
        static_groups=bool(settings["gptq.static_groups"]),
        order=order,
    )
    settle_columns(W, factor, int(number(settings, "gptq.block_size")), columns, as_published=as_published)
    return columns.quantized()


QUANTIZER = Quantizer(quantize, needs=frozenset({"hessian"}), options=OPTIONS["gptq"])
