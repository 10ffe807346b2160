"""Pruning as the published codes do it, written anew from their description: what `prune.py` compares with.

One sequence at a time goes through every decoder layer twice, before and after it is pruned; every linear layer has a
hook and statistics of its own; scores are sorted. `true_sequential` runs the layer again for every group of linears.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

GROUPS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
DAMPING, BLOCK = 0.01, 128


class _ReachedLayersError(Exception):
    pass


def layer_inputs(model: Any, ids: Tensor, batch: int) -> tuple[list[Tensor], dict[str, Any]]:
    """The first decoder layer's inputs, a batch each, and the other arguments of its last call."""
    caught: list[tuple[Tensor, dict[str, Any]]] = []

    def catch(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caught.append((args[0], kwargs))
        raise _ReachedLayersError

    handle = model.model.layers[0].register_forward_pre_hook(catch, with_kwargs=True)
    for rows in ids.split(batch):
        with contextlib.suppress(_ReachedLayersError):
            model.model(rows, use_cache=False)
    handle.remove()
    return [hidden for hidden, _ in caught], caught[-1][1]


class Norms:
    """Wanda's statistic of one linear layer: the running mean over sequences of its inputs' squared norms."""

    def __init__(self, weight: Tensor) -> None:
        self.squared = torch.zeros(weight.shape[1])
        self.sequences = 0

    def add(self, inputs: Tensor) -> None:
        count = len(inputs)
        columns = inputs.reshape(-1, inputs.shape[-1]).t().to(torch.float32)
        self.squared *= self.sequences / (self.sequences + count)
        self.sequences += count
        self.squared += self.squares(columns) / self.sequences

    def squares(self, columns: Tensor) -> Tensor:
        return torch.norm(columns, p=2, dim=1) ** 2

    def prune(self, weight: Tensor, ratio: float) -> Tensor:
        score = weight.abs() * self.squared.sqrt().reshape(1, -1)
        lowest = torch.sort(score, dim=-1, stable=True)[1][:, : int(weight.shape[1] * ratio)]
        mask = torch.zeros_like(score, dtype=torch.bool).scatter_(1, lowest, True)
        weight[mask] = 0
        return ~mask


class Squares(Norms):
    """The same without the detour over the root, which rounds; Calibrant sums squares as well."""

    def squares(self, columns: Tensor) -> Tensor:
        return columns.square().sum(1)


class Hessian:
    """SparseGPT of one linear layer: its Hessian, then blocks of columns, each column's error spread over the next."""

    def __init__(self, weight: Tensor) -> None:
        self.H = torch.zeros(weight.shape[1], weight.shape[1])
        self.sequences = 0

    def add(self, inputs: Tensor) -> None:
        count = len(inputs)
        columns = inputs.reshape(-1, inputs.shape[-1]).t()
        self.H *= self.sequences / (self.sequences + count)
        self.sequences += count
        columns = math.sqrt(2 / self.sequences) * columns.float()
        self.H += columns.matmul(columns.t())

    def prune(self, weight: Tensor, ratio: float) -> Tensor:
        W, H = weight.float(), self.H
        dead = H.diag() == 0
        H[dead, dead] = 1
        W[:, dead] = 0
        H.diagonal().add_(DAMPING * H.diag().mean())
        keep = torch.ones_like(W, dtype=torch.bool)
        factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(H)), upper=True)
        for start in range(0, W.shape[1], BLOCK):
            end = min(start + BLOCK, W.shape[1])
            W1, U1 = W[:, start:end].clone(), factor[start:end, start:end]
            kept, errors = torch.zeros_like(W1), torch.zeros_like(W1)
            saliency = W1**2 / U1.diag().reshape(1, -1) ** 2
            pruned = saliency <= saliency.flatten().sort()[0][int(saliency.numel() * ratio)]
            for i in range(end - start):
                w, d = W1[:, i], U1[i, i]
                q = w.clone()
                q[pruned[:, i]] = 0
                kept[:, i] = q
                error = (w - q) / d
                W1[:, i:] -= error.unsqueeze(1).matmul(U1[i, i:].unsqueeze(0))
                errors[:, i] = error
            W[:, start:end], keep[:, start:end] = kept, ~pruned
            W[:, end:] -= errors.matmul(factor[start:end, end:])
        weight.copy_(W)
        return keep


def prune(
    model: Any,
    ids: Tensor,
    ratio: float,
    kind: type[Norms] | type[Hessian],
    true_sequential: bool = False,
    batch: int = 1,
) -> dict[str, Tensor]:
    """Prune a Llama-like model in place; returns the masks of the weights kept, by the linears' names."""
    with torch.no_grad():
        hidden, arguments = layer_inputs(model, ids, batch)
        masks = {}
        for index, layer in enumerate(model.model.layers):
            linears = {name: module for name, module in layer.named_modules() if isinstance(module, nn.Linear)}
            groups = GROUPS if true_sequential else (tuple(name for group in GROUPS for name in group),)
            for group in groups:
                found = {name: module for name, module in linears.items() if name.rpartition(".")[2] in group}
                statistics = {name: kind(module.weight) for name, module in found.items()}
                handles = [module.register_forward_hook(_hook(statistics[name])) for name, module in found.items()]
                _run(layer, hidden, arguments)
                for handle in handles:
                    handle.remove()
                for name, module in found.items():
                    masks[f"model.layers.{index}.{name}"] = statistics[name].prune(module.weight.data, ratio)
            hidden = _run(layer, hidden, arguments)
    return masks


def _run(layer: nn.Module, hidden: Sequence[Tensor], arguments: dict[str, Any]) -> list[Tensor]:
    outputs = []
    for x in hidden:
        output = layer(x, **arguments)
        outputs.append(output[0] if isinstance(output, tuple) else output)
    return outputs


def _hook(statistics: Norms | Hessian) -> Callable[..., None]:
    return lambda module, inputs, output: statistics.add(inputs[0])
