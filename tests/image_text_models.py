"""Tiny random checkpoints that take images too, as their own classes save them, with the files of a processor."""

import json
import shutil
from pathlib import Path
from typing import Any

TEXT: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
# The vision towers have more layers and more linear weights than the language models.
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "image_size": 28, "patch_size": 14}
CLIP = {**TOWER, "model_type": "clip_vision_model", "num_hidden_layers": 4}
QWEN = {"hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "depth": 4, "out_hidden_size": 16, "patch_size": 14}
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 0]}
PROCESSOR = {
    "preprocessor_config.json": '{"image_processor_type": "CLIPImageProcessor"}\n',
    "processor_config.json": '{"patch_size": 14}\n',
    "video_preprocessor_config.json": '{"size": 28}\n',
    "chat_template.jinja": "{% for message in messages %}{{ message.content }}{% endfor %}",
}


def configuration(kind: str) -> Any:
    """The transformers configuration of a kind of model."""
    import transformers as tf

    of_text = {**TEXT, "model_type": "llama"}
    if kind == "llava":
        return tf.LlavaConfig(text_config=of_text, vision_config=CLIP, image_token_index=399)
    if kind == "qwen2_5_vl":
        vision = {**QWEN, "fullatt_block_indexes": [1], "window_size": 28}
        return tf.Qwen2_5_VLConfig(
            text_config={**TEXT, "rope_parameters": ROPE}, vision_config=vision, image_token_id=399, video_token_id=398
        )
    if kind == "llama4":
        experts = {"num_local_experts": 4, "num_experts_per_tok": 1, "interleave_moe_layer_step": 1}
        text = {**TEXT, **experts, "intermediate_size_mlp": 24, "head_dim": 4, "attn_temperature_tuning": False}
        projected = {f"{name}_dim": 32 for name in ("vision_output", "projector_input", "projector_output")}
        return tf.Llama4Config(text_config=text, vision_config={**TOWER, **projected, "num_hidden_layers": 2})
    if kind == "paligemma":
        siglip = {**TOWER, "model_type": "siglip_vision_model", "num_hidden_layers": 2}
        gemma = {**TEXT, "model_type": "gemma", "head_dim": 4}
        return tf.PaliGemmaConfig(text_config=gemma, vision_config=siglip, image_token_index=399, projection_dim=16)
    if kind == "mllama":
        rope = {"rope_type": "default", "rope_theta": 10000.0}
        vision = {**TOWER, "num_hidden_layers": 2, "num_global_layers": 1, "attention_heads": 4}
        vision |= {"vision_output_dim": 64, "intermediate_layers_indices": [0], "supported_aspect_ratios": [[1, 1]]}
        crossed = {**TEXT, "num_hidden_layers": 3, "cross_attention_layers": [1], "rope_parameters": rope}
        return tf.MllamaConfig(text_config=crossed, vision_config={**vision, "max_num_tiles": 1}, image_token_index=399)
    if kind == "florence2":
        bart = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
        bart |= {"model_type": "bart", "vocab_size": 400, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
        davit = {name: [1] * 4 for name in ("num_heads", "num_groups", "depths")} | {"embed_dim": [8] * 4}
        return tf.Florence2Config(text_config=bart, vision_config={**davit, "projection_dim": 16}, image_token_id=399)
    assert kind == "blip-2"
    opt = {"model_type": "opt", "vocab_size": 400, "hidden_size": 16, "ffn_dim": 24, "num_hidden_layers": 2}
    opt |= {"num_attention_heads": 4, "max_position_embeddings": 128, "word_embed_proj_dim": 16}
    qformer = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    return tf.Blip2Config(
        text_config=opt,
        vision_config={**TOWER, "num_hidden_layers": 2},
        qformer_config={**qformer, "encoder_hidden_size": 32, "vocab_size": 50},
        num_query_tokens=4,
        image_token_index=399,
    )


def own_class(kind: str) -> Any:
    """Transformers' class of a kind of model."""
    import transformers as tf

    return {
        "llava": tf.LlavaForConditionalGeneration,
        "qwen2_5_vl": tf.Qwen2_5_VLForConditionalGeneration,
        "llama4": tf.Llama4ForConditionalGeneration,
        "paligemma": tf.PaliGemmaForConditionalGeneration,
        "mllama": tf.MllamaForConditionalGeneration,
        "florence2": tf.Florence2ForConditionalGeneration,
        "blip-2": tf.Blip2ForConditionalGeneration,
    }[kind]


def write_image_text_model(kind: str, folder: Path, tokenizer: Path) -> Path:
    """A random checkpoint in float32 with the tokenizer of another model."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = own_class(kind)(configuration(kind)).float()
        with torch.no_grad():
            for parameter in model.parameters():  # initial weights are too small for scores to differ
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    model.save_pretrained(folder)
    for file in tokenizer.glob("tokenizer*"):
        shutil.copyfile(file, folder / file.name)
    for name, text in PROCESSOR.items():
        (folder / name).write_text(text)
    return folder


def edit_config(folder: Path, part: str | None, **changes: Any) -> None:
    """Change keys of config.json, or of a part of it."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    (config if part is None else config[part]).update(changes)
    path.write_text(json.dumps(config))
