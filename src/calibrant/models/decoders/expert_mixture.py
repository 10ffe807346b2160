"""A mixture of experts (Shazeer et al., 2017) in place of a layer's MLP: each token goes through a few of many."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from calibrant.models.decoders.laid_out_linear import activated
from calibrant.models.families.decoder_plan import Plan


class ExpertMixture:
    """The experts of one layer, read from transformers' stacked parameters where they lie, without a copy."""

    def __init__(self, router: Any, stack: Any, plan: Plan) -> None:
        """`router` holds a weight [experts, hidden]; `stack` gate_up_proj [experts, 2 inner, hidden] and down_proj."""
        assert plan.family.experts is not None
        self.router, self.stack = router, stack
        self.chosen, self.normalised = plan.chosen_experts, plan.normalised_experts
        self.wide = plan.family.experts.weights == "float32"
        self.activation = plan.activation

    def __call__(self, x: Tensor) -> Tensor:
        """[tokens, hidden] -> [tokens, hidden]."""
        probabilities = torch.softmax(F.linear(x, self.router.weight.detach()), -1, dtype=torch.float32)
        weights, chosen = probabilities.topk(self.chosen, dim=-1)
        if self.normalised:
            weights = weights / weights.sum(-1, keepdim=True)
        if not self.wide:
            weights = weights.to(x.dtype)
        # Token after token in the order of its experts' ranks, as transformers adds them up.
        order = torch.argsort(chosen.flatten(), stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=len(self.stack.gate_up_proj)).tolist()
        tokens = order // self.chosen
        outputs = x.new_empty(len(order), x.shape[-1], dtype=torch.promote_types(weights.dtype, x.dtype))
        start = 0
        for expert, count in enumerate(counts):
            if count:
                places = order[start : start + count]
                inner = F.linear(x[tokens[start : start + count]], self.stack.gate_up_proj[expert].detach())
                gate, up = inner.chunk(2, dim=-1)
                out = F.linear(activated(gate, self.activation) * up, self.stack.down_proj[expert].detach())
                outputs[places] = out * weights.flatten()[places, None]
                start += count
        return outputs.view(len(x), self.chosen, x.shape[-1]).sum(1).to(x.dtype)
