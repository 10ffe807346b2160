"""What llama.cpp calls a model's linear layers in a GGUF file, by the name tables of its own package, gguf."""

import re
from dataclasses import dataclass
from typing import Any

from calibrant.errors import InputError

# model_type -> llama.cpp's architecture, a name of gguf.MODEL_ARCH. Only those whose linears llama.cpp keeps with the
# columns of the checkpoint, as its conversion has it: rows may be permuted, and fused rows divided.
ARCHITECTURES = {
    **dict.fromkeys(("llama", "mistral", "mixtral"), "LLAMA"),
    **{"qwen2": "QWEN2", "qwen2_moe": "QWEN2MOE", "qwen3": "QWEN3", "qwen3_moe": "QWEN3MOE"},
    **{"gemma": "GEMMA", "gemma2": "GEMMA2", "gemma3_text": "GEMMA3"},
    **{"phi": "PHI2", "phi3": "PHI3", "phimoe": "PHIMOE"},
    **{"olmo": "OLMO", "olmo2": "OLMO2", "olmo3": "OLMO2", "olmoe": "OLMOE"},
    **{"granite": "GRANITE", "granitemoe": "GRANITE_MOE", "granitemoeshared": "GRANITE_MOE"},
    **{"cohere": "COMMAND_R", "cohere2": "COHERE2", "smollm3": "SMOLLM3", "glm4": "GLM4", "seed_oss": "SEED_OSS"},
    **{"gpt2": "GPT2", "gpt_neox": "GPTNEOX", "falcon": "FALCON", "bloom": "BLOOM", "mpt": "MPT"},
    **{"stablelm": "STABLELM", "starcoder2": "STARCODER2", "nemotron": "NEMOTRON", "arcee": "ARCEE"},
    **{"exaone4": "EXAONE4", "ernie4_5": "ERNIE4_5", "apertus": "APERTUS"},
}
# Linears whose rows llama.cpp divides among two tensors; both have the inputs of the one.
DIVIDED = {
    "block_sparse_moe.input_linear": ("ffn_gate_exps", "ffn_up_exps"),
    "mlp.experts.gate_up_proj": ("ffn_gate_exps", "ffn_up_exps"),
    "shared_mlp.input_linear": ("ffn_gate_shexp", "ffn_up_shexp"),
}
ROUTERS = ("ffn_gate_inp", "ffn_gate_inp_shexp")
LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.([0-9]+)\.(.+)")
EXPERT = re.compile(r"(.*\.experts)\.[0-9]+(\..*)|(.*)\.[0-9]+")  # one of many tensors, or a slice of one


@dataclass(frozen=True)
class GgufNames:
    """The names of one model's tensors.

    tensors: the table of its architecture, of package gguf.
    model: what messages call it.
    """

    tensors: Any
    model: str

    def of_linear(self, name: str, *, expert: bool) -> tuple[str, ...]:
        """The tensors that have a linear's inputs, without `.weight`; those of an expert hold all experts of a layer.

        Args:
            name: of the linear as the checkpoint has it, `model.layers.0.mlp.experts.3.gate_proj`.
            expert: whether it is one of several experts.

        Raises:
            InputError: llama.cpp has no such tensor.
        """
        found = self.known(EXPERT.sub(r"\1\2\3", name, count=1) if expert else name)
        if not found:
            raise InputError(
                f"model {self.model}: llama.cpp has no tensor for the linear layer {name}, so an importance matrix of "
                "this model would not be whole"
            )
        return found

    def known(self, name: str) -> tuple[str, ...]:
        """The tensors of a module with a weight, without `.weight`; none where llama.cpp has no such tensor."""
        of_layer = LAYER.search(name)
        if of_layer is None:
            return ()
        layer, tail = of_layer.groups()
        if tail in DIVIDED:
            return tuple(f"blk.{layer}.{kind}" for kind in DIVIDED[tail])
        # Of a checkpoint that takes images too, llama.cpp's converter drops what stands before `layers`.
        found = self.tensors.get_name(name) or self.tensors.get_name(f"model.layers.{layer}.{tail}")
        return () if found is None else (found,)

    def is_router(self, name: str) -> bool:
        """Whether a module chooses or weighs experts; llama.cpp collects its inputs, too."""
        return any(found.rpartition(".")[2] in ROUTERS for found in self.known(name))


def gguf_names(config: Any, model: str) -> GgufNames:
    """The names of a model with this transformers configuration; `model` is what messages call it.

    Raises:
        InputError: its family is none whose names are known.
    """
    import gguf

    text = config.get_text_config()
    architecture = ARCHITECTURES.get(text.model_type)
    if architecture is None:
        raise InputError(
            f"model {model}: llama.cpp's names of its linear layers are not known, since its model_type is "
            f"{text.model_type}; they are for {', '.join(sorted(ARCHITECTURES))}"
        )
    return GgufNames(gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture], text.num_hidden_layers), model)
