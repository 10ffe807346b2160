"""A small model as a GGUF file, as llama.cpp lays it out, and what its weights are in Hugging Face's form."""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from transformers.convert_slow_tokenizer import bytes_to_unicode

HIDDEN, HEADS, KV_HEADS, MIDDLE, VOCABULARY = 64, 4, 2, 96, 260


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """The order of rows in which llama.cpp keeps query and key weights (rotary halves interleaved)."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(
    path: Path, kind: Kind = Kind.Q4_1, *, architecture: str = "llama", tokenizer: bool = True, **numbers: int
) -> dict[str, np.ndarray]:
    """A one-layer Llama with weights of a type; returns what each Hugging Face weight should be (float32).

    `numbers` are further metadata, `general__file_type=3`.
    """
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, architecture)
    for name, number in numbers.items():
        writer.add_uint32(name.replace("__", "."), number)
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(MIDDLE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    if tokenizer:
        _add_tokenizer(writer)
    half, kv = "model.layers.0", HIDDEN * KV_HEADS // HEADS
    shapes = {
        "token_embd": ("model.embed_tokens", (VOCABULARY, HIDDEN), None),
        "output": ("lm_head", (VOCABULARY, HIDDEN), None),
        "blk.0.attn_q": (f"{half}.self_attn.q_proj", (HIDDEN, HIDDEN), HEADS),
        "blk.0.attn_k": (f"{half}.self_attn.k_proj", (kv, HIDDEN), KV_HEADS),
        "blk.0.attn_v": (f"{half}.self_attn.v_proj", (kv, HIDDEN), None),
        "blk.0.attn_output": (f"{half}.self_attn.o_proj", (HIDDEN, HIDDEN), None),
        "blk.0.ffn_gate": (f"{half}.mlp.gate_proj", (MIDDLE, HIDDEN), None),
        "blk.0.ffn_up": (f"{half}.mlp.up_proj", (MIDDLE, HIDDEN), None),
        "blk.0.ffn_down": (f"{half}.mlp.down_proj", (HIDDEN, MIDDLE), None),
    }
    norms = {
        "output_norm": "model.norm",
        "blk.0.attn_norm": f"{half}.input_layernorm",
        "blk.0.ffn_norm": f"{half}.post_attention_layernorm",
    }
    expected = {}
    for name, (target, shape, heads) in shapes.items():
        weight = rng.standard_normal(shape).astype(np.float32)
        # Blocks lie within rows, so quantising commutes with permuting rows.
        expected[f"{target}.weight"] = gguf.dequantize(gguf.quantize(weight, kind), kind)
        stored = gguf.quantize(permuted(weight, heads) if heads else weight, kind)
        writer.add_tensor(f"{name}.weight", stored, raw_dtype=kind)
    for name, target in norms.items():
        weight = rng.standard_normal(HIDDEN).astype(np.float32)
        expected[f"{target}.weight"] = weight
        writer.add_tensor(f"{name}.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<unk>", "<s>", "</s>", *bytes_to_unicode().values(), "th"])
    writer.add_token_types([3, 3, 3] + [1] * 257)
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
