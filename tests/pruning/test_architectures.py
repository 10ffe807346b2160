"""Tiny random models of many families, pruned from disk and by brute force on the whole model in memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from pruning_calls import prune
from whole_model import load, wanda_by_hand

from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.streaming import StreamedModel
from calibrant.models.openlm.configuration import OpenLMConfig
from calibrant.models.openlm.registration import register
from calibrant.models.structure.decoder_layers import find_decoder_layers
from calibrant.pruning.masks.mask_file import read_masks
from calibrant.pruning.masks.masked_model import load_pruned_model
from calibrant.pruning.masks.pruned_checkpoint import write_pruned_checkpoint
from calibrant.pruning.run import sublayer_order as in_turn

VOCABULARY, TOKENS = 97, 20
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WINDOW = 6  # far shorter than the sequences
HYBRID = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
MOE = {"num_experts_per_tok": 2, "experts_implementation": "eager"}


def without(*names: str) -> dict[str, Any]:
    return {key: value for key, value in SMALL.items() if key not in names}


CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: tf.LlamaConfig(**SMALL),
    "mistral": lambda: tf.MistralConfig(**SMALL, sliding_window=WINDOW),
    "qwen2": lambda: tf.Qwen2Config(**SMALL, use_sliding_window=True, **HYBRID),
    "qwen3": lambda: tf.Qwen3Config(**SMALL, head_dim=8),
    "gemma2": lambda: tf.Gemma2Config(**SMALL, head_dim=8, query_pre_attn_scalar=8, **HYBRID),
    "gemma3": lambda: tf.Gemma3TextConfig(**SMALL, head_dim=8, query_pre_attn_scalar=8, **HYBRID),
    "phi3": lambda: tf.Phi3Config(**SMALL),
    "gpt2": lambda: tf.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "opt": lambda: tf.OPTConfig(
        **without("num_key_value_heads", "intermediate_size"), ffn_dim=48, word_embed_proj_dim=32
    ),
    "gpt_neox": lambda: tf.GPTNeoXConfig(**without("num_key_value_heads")),
    "falcon": lambda: tf.FalconConfig(**without("num_key_value_heads", "intermediate_size")),
    "olmo2": lambda: tf.Olmo2Config(**SMALL),
    "stablelm": lambda: tf.StableLmConfig(**SMALL),
    "mixtral": lambda: tf.MixtralConfig(**SMALL, num_local_experts=3, **MOE),
    "qwen2_moe": lambda: tf.Qwen2MoeConfig(
        **SMALL, num_experts=3, moe_intermediate_size=16, shared_expert_intermediate_size=24, **MOE
    ),
    "qwen3_moe": lambda: tf.Qwen3MoeConfig(**SMALL, head_dim=8, num_experts=3, moe_intermediate_size=16, **MOE),
    "granitemoe": lambda: tf.GraniteMoeConfig(**SMALL, num_local_experts=3, **MOE),
    "gpt_oss": lambda: tf.GptOssConfig(**SMALL, head_dim=8, num_local_experts=3, **HYBRID, **MOE),
    "llama4": lambda: tf.Llama4TextConfig(
        **SMALL,
        head_dim=8,
        intermediate_size_mlp=40,
        num_local_experts=3,
        attention_chunk_size=16,
        interleave_moe_layer_step=1,
    ),
    "openlm": lambda: OpenLMConfig(
        vocab_size=VOCABULARY,
        dim=32,
        n_layers=2,
        n_heads=4,
        seq_len=64,
        norm_type="gain_only_lp_layer_norm",
        apply_qk_norm=True,
    ),
}


@pytest.fixture(scope="module")
def input_ids() -> np.ndarray:
    return np.random.default_rng(7).integers(3, VOCABULARY, (3, TOKENS))


@pytest.fixture(scope="module")
def calibration(input_ids: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import pyarrow as pa

    from calibrant.artefacts.parquet import write_table

    path = tmp_path_factory.mktemp("calibration") / "set.parquet"
    write_table(path, pa.table({"input_ids": pa.array(input_ids.tolist(), pa.list_(pa.int32()))}), {})
    return path


@pytest.fixture(scope="module", params=CONFIGS)
def model_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = CONFIGS[request.param]()
    register()  # for OpenLM, which transformers does not know by itself
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tf.AutoModelForCausalLM.from_config(config).float()
        with torch.no_grad():
            for parameter in model.parameters():  # initial weights are too small for scores and routers to differ
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    path = tmp_path_factory.mktemp("models") / request.param
    model.save_pretrained(path)
    return path


@pytest.mark.parametrize("ahead", [False, True])
def test_streamed_parameters_equal_from_pretrained(model_dir: Path, ahead: bool) -> None:
    streamed = StreamedModel(open_checkpoint(model_dir), torch.float32, torch.device("cpu"), read_ahead=ahead)
    whole = load(model_dir)
    for layer in find_decoder_layers(streamed.model):
        streamed.prefetch(layer.name + ".")  # does nothing unless `ahead`
        streamed.load(layer.name + ".")
        expected = whole.get_submodule(layer.name)
        for (name, ours), (other, theirs) in zip(
            layer.module.named_parameters(), expected.named_parameters(), strict=True
        ):
            assert name == other
            assert torch.equal(ours, theirs), name
        for (name, ours), (_, theirs) in zip(layer.module.named_buffers(), expected.named_buffers(), strict=True):
            assert torch.equal(ours, theirs), name
        streamed.release(layer.name + ".")
        assert all(parameter.is_meta for parameter in layer.module.parameters())


def test_wanda_equals_brute_force(model_dir: Path, calibration: Path, input_ids: np.ndarray, tmp_path: Path) -> None:
    output = tmp_path / "masks.safetensors"
    prune(model_dir, calibration, "wanda", "0.5", output=output, device="cpu", progress=False)
    masks = read_masks(output).masks
    expected = wanda_by_hand(model_dir, input_ids, 0.5).masks
    assert set(masks) == set(expected)
    assert not any("gate" in name.rsplit(".", 1)[-1] and "gate_" not in name for name in masks)  # no router
    differing = sum(int((masks[name] != expected[name]).sum()) for name in masks)
    assert differing <= 4  # near-ties: the brute force sums in float64


@pytest.mark.parametrize("method", ["magnitude", "ria", "sparsegpt", "dsnot", "owl"])
def test_every_method_runs_and_its_checkpoint_loads(
    model_dir: Path, method: str, calibration: Path, tmp_path: Path
) -> None:
    output, checkpoint = tmp_path / "masks.safetensors", tmp_path / "pruned"
    sparsity = {"magnitude": "0.5", "ria": "0.5", "sparsegpt": "2:4", "dsnot": "2:4", "owl": "0.5"}[method]
    metadata = prune(model_dir, calibration, method, sparsity, output=output, device="cpu", progress=False)
    # int(cols * ratio) rounds down by up to one column of these narrow rows, `<=` up
    assert metadata["achieved_sparsity"] == pytest.approx(0.5, abs=0.03)
    in_memory = load_pruned_model(model_dir, output, device="cpu")
    write_pruned_checkpoint(model_dir, output, checkpoint)
    loaded = load(checkpoint)
    for (name, ours), (_, theirs) in zip(in_memory.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_sublayer_mode_equals_a_pass_for_each_stage(
    model_dir: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halted runs that go on see what a run from the start sees; other masks than in `layer` mode come out."""

    def run(name: str, mode: str) -> bytes:
        output = tmp_path / f"{name}.safetensors"
        prune(model_dir, calibration, "wanda", "0.5", {"sequential": mode}, output=output, device="cpu", progress=False)
        return b"".join(mask.numpy().tobytes() for mask in read_masks(output).masks.values())

    one = run("one", "sublayer")
    assert one != run("layer", "layer")
    monkeypatch.setattr(in_turn, "routed", lambda linears: True)
    assert run("many", "sublayer") == one


def test_windows_and_full_attention_are_told_apart(calibration: Path, tmp_path: Path) -> None:
    """The recorded masks of a hybrid model's two layers differ."""
    from calibrant.models.structure.layer_calls import record_calls

    CONFIGS["gemma2"]().save_pretrained(tmp_path)
    model = tf.AutoModelForCausalLM.from_config(CONFIGS["gemma2"]()).eval()
    _, calls = record_calls(model, find_decoder_layers(model), torch.arange(TOKENS)[None])
    sliding, full = (calls[index][0].kwargs["attention_mask"] for index in range(2))
    assert sliding is not None
    assert full is None or not torch.equal(sliding, full)


@pytest.mark.parametrize("method", ["magnitude", "sparsegpt", "wanda"])
def test_openlm_whole_and_by_parts(method: str, shared_dir: Path, tmp_path: Path) -> None:
    """Fused linears by their parts: magnitude prunes the same share of q, k and v; rows do not notice."""
    from calibrant.models.openlm.fused_parts import fused_splits

    ids = np.random.default_rng(0).integers(3, 500, (4, 32))
    import pyarrow as pa

    from calibrant.artefacts.parquet import write_table

    write_table(tmp_path / "set.parquet", pa.table({"input_ids": pa.array(ids.tolist(), pa.list_(pa.int32()))}), {})
    masks = {}
    for fused in ("whole", "parts"):
        output = tmp_path / f"{fused}.safetensors"
        prune(
            *(shared_dir / "golden" / "openlm", tmp_path / "set.parquet", method, "0.5", {"fused": fused}),
            output=output,
            device="cpu",
            progress=False,
        )
        masks[fused] = dict(read_masks(output).masks)
    names = [name for name in masks["whole"] if fused_splits(name, len(masks["whole"][name]))]
    assert names
    assert all(".attention." in name or ".feed_forward." in name for name in masks["whole"])
    same = all(torch.equal(masks["whole"][name], masks["parts"][name]) for name in masks["whole"])
    assert same == (method == "wanda")
    if method == "magnitude":
        for name in names:
            for rows in fused_splits(name, len(masks["parts"][name])).values():
                assert float((~masks["parts"][name][rows]).double().mean()) == pytest.approx(0.5, abs=1e-3)


def test_parts_of_other_models_are_not_known(tmp_path: Path, calibration: Path) -> None:
    tf.AutoModelForCausalLM.from_config(CONFIGS["phi3"]()).save_pretrained(tmp_path / "phi3")
    with pytest.raises(InputError, match="this model is phi3"):
        prune(tmp_path / "phi3", None, "magnitude", "0.5", {"fused": "parts"}, output=tmp_path / "m.safetensors")


def test_gemma3n_is_refused_in_one_line(tmp_path: Path, calibration: Path) -> None:
    """Its layers are given four hidden states a token."""
    config = tf.Gemma3nTextConfig(
        **SMALL,
        head_dim=8,
        vocab_size_per_layer_input=VOCABULARY,
        hidden_size_per_layer_input=8,
        num_kv_shared_layers=0,
        laurel_rank=4,
        activation_sparsity_pattern=[0.0, 0.0],
        **HYBRID,
    )
    tf.Gemma3nForCausalLM(config).save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match=r"hidden states of 4 dimensions, .* it cannot be pruned"):
        prune(
            tmp_path / "model", calibration, "wanda", "0.5", output=tmp_path / "out" / "o.safetensors", progress=False
        )
    assert not any((tmp_path / "out").iterdir())
