"""OpenLM as a transformers model, with the checkpoint's module names.

Architecture: github.com/mlfoundations/open_lm (open_lm/model.py); Li et al. 2024, "DataComp-LM", for
DCLM-7B. A pre-norm decoder like LLaMA, with four differences: LayerNorm without bias for RMSNorm,
another LayerNorm over the full width of queries and keys (before they are split into heads), one fused
linear for q, k, v and one for the two halves of the SwiGLU.

Caching, masks and attention backends are transformers'. One deviation from open_lm's own code: rotary
angles are computed in float32 whatever the weights' format, where open_lm rounds the frequencies first.
"""

import math
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import initialization as init
from transformers.cache_utils import DynamicCache
from transformers.generation import GenerationMixin
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel, slice_logits_to_keep
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, eager_attention_forward
from transformers.utils import can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from calibrant.models.openlm.configuration import OpenLMConfig

ROPE_BASE = 10000.0


def rotary_tables(position_ids: torch.Tensor, head_dim: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of the rotary positions (Su et al. 2021), first half and second half of a head paired.

    Args:
        position_ids: int [B, T].
        head_dim: even width of a head.
        dtype: of the result; the angles are float32.

    Returns:
        Two tensors [B, T, head_dim].
    """
    exponent = torch.arange(0, head_dim, 2, device=position_ids.device, dtype=torch.float32) / head_dim
    angles = position_ids[..., None].float() * ROPE_BASE**-exponent
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def _norm(config: OpenLMConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.dim, eps=config.norm_eps, bias=config.norm_bias)


class OpenLMAttention(nn.Module):
    """Multi-head attention with fused q, k, v and normalised queries and keys."""

    def __init__(self, config: OpenLMConfig, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.num_key_value_groups = 1  # read by transformers' attention functions
        self.is_causal = True
        self.in_proj = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.out_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.q_norm = _norm(config) if config.apply_qk_norm else nn.Identity()
        self.k_norm = _norm(config) if config.apply_qk_norm else nn.Identity()

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """[B, T, dim] -> [B, T, dim], and the attention weights where the backend gives them."""
        query, key, value = self.in_proj(hidden_states).chunk(3, dim=-1)
        heads = (*hidden_states.shape[:-1], -1, self.head_dim)
        query = self.q_norm(query).view(heads).transpose(1, 2)
        key = self.k_norm(key).view(heads).transpose(1, 2)
        value = value.view(heads).transpose(1, 2)
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        output, weights = attend(
            self, query, key, value, attention_mask, dropout=0.0, scaling=self.head_dim**-0.5, **kwargs
        )
        return self.out_proj(output.reshape(hidden_states.shape)), weights


class OpenLMFeedForward(nn.Module):
    """SwiGLU: w3(silu(w1 x) * w2 x), w1 above w2 in `w12`."""

    def __init__(self, config: OpenLMConfig) -> None:
        super().__init__()
        self.w12 = nn.Linear(config.dim, 2 * config.intermediate_size, bias=False)
        self.w3 = nn.Linear(config.intermediate_size, config.dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, dim] -> [B, T, dim]."""
        gate, up = self.w12(x).chunk(2, dim=-1)
        down: torch.Tensor = self.w3(nn.functional.silu(gate) * up)
        return down


class OpenLMDecoderLayer(GradientCheckpointingLayer):  # type: ignore[misc]
    """Attention and SwiGLU, each behind a LayerNorm and around a residual."""

    def __init__(self, config: OpenLMConfig, layer_idx: int) -> None:
        super().__init__()
        self.attention = OpenLMAttention(config, layer_idx)
        self.feed_forward = OpenLMFeedForward(config)
        self.attention_norm = _norm(config)
        self.ffn_norm = _norm(config)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any | None = None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """[B, T, dim] -> [B, T, dim]."""
        attended, _ = self.attention(
            self.attention_norm(hidden_states),
            position_embeddings=position_embeddings,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            **kwargs,
        )
        hidden_states = hidden_states + attended
        output: torch.Tensor = hidden_states + self.feed_forward(self.ffn_norm(hidden_states))
        return output


class OpenLMPreTrainedModel(PreTrainedModel):  # type: ignore[misc]
    """What transformers needs to know to load, place and save the model."""

    config_class = OpenLMConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["OpenLMDecoderLayer"]
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    # Checkpoints hold a table that follows from the head width; it is computed here.
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"attention\.pos_embed\.inv_freq"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs: ClassVar[dict[str, type]] = {
        "hidden_states": OpenLMDecoderLayer,
        "attentions": OpenLMAttention,
    }

    def _init_weights(self, module: nn.Module) -> None:
        """Truncated normals of standard deviation 1/sqrt(fan in), as in open_lm; gains of norms are 1."""
        if isinstance(module, nn.Linear | nn.Embedding):
            fan_in = module.in_features if isinstance(module, nn.Linear) else module.embedding_dim
            std = 1.0 / math.sqrt(fan_in)
            init.trunc_normal_(module.weight, std=std, a=-3 * std, b=3 * std)
        else:
            super()._init_weights(module)


class OpenLMModel(OpenLMPreTrainedModel):
    """The decoder: token ids [B, T] to normalised hidden states [B, T, dim].

    It owns the output layer too, because the checkpoint calls that `model.output`; only
    `OpenLMForCausalLM` applies it.
    """

    def __init__(self, config: OpenLMConfig) -> None:
        super().__init__(config)
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.post_embed_norm = _norm(config) if config.post_embed_norm else nn.Identity()
        self.layers = nn.ModuleList(OpenLMDecoderLayer(config, i) for i in range(config.n_layers))
        self.norm = _norm(config)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding."""
        return self.tok_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embedding."""
        self.tok_embeddings = value

    @merge_with_config_defaults  # type: ignore[untyped-decorator]
    @capture_outputs  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """As `LlamaModel.forward`; `attention_mask` is [B, T] (1 = real) or a ready 4-D mask.

        Without `position_ids`, positions count up from the cache's length. Rotary attention sees only their
        differences, so it does not matter where a row's first real token stands.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        hidden_states = self.tok_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        hidden_states = self.post_embed_norm(hidden_states)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if position_ids is None:
            past = past_key_values.get_seq_length() if past_key_values is not None else 0
            length = hidden_states.shape[1]
            position_ids = torch.arange(past, past + length, device=hidden_states.device)[None]
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=hidden_states,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        position_embeddings = rotary_tables(position_ids, self.config.head_dim, hidden_states.dtype)
        for layer in self.layers:
            hidden_states = layer(
                hidden_states,
                attention_mask=mask,
                past_key_values=past_key_values,
                position_embeddings=position_embeddings,
                position_ids=position_ids,
                **kwargs,
            )
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden_states), past_key_values=past_key_values)


class OpenLMForCausalLM(OpenLMPreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """OpenLM with its output layer."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {"model.output.weight": "model.tok_embeddings.weight"}

    def __init__(self, config: OpenLMConfig) -> None:
        super().__init__(config)
        self.model = OpenLMModel(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """The output layer."""
        return self.model.output

    def set_output_embeddings(self, value: nn.Linear) -> None:
        """Replace the output layer."""
        self.model.output = value

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """As `LlamaForCausalLM.forward`: logits [B, T or logits_to_keep, vocab], and the loss when labels are given."""
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        logits = self.model.output(slice_logits_to_keep(outputs.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
