import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint_config import load_config
from calibrant.models.checkpoint.loading import load_model
from calibrant.models.openlm.configuration import OpenLMConfig
from calibrant.models.openlm.fused_parts import fused_splits
from calibrant.models.openlm.modeling import OpenLMForCausalLM, rotary_tables
from calibrant.models.openlm.registration import register

SIZES = {"vocab_size": 61, "dim": 32, "n_layers": 2, "n_heads": 4, "seq_len": 64}
NORM = {"norm_type": "gain_only_lp_layer_norm", "apply_qk_norm": True}


torch.set_num_threads(1)


def make_model(seed: int = 0, **settings: object) -> OpenLMForCausalLM:
    config = OpenLMConfig(**{**SIZES, **NORM, **settings})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = OpenLMForCausalLM(config).eval().requires_grad_(False)
        for name, parameter in model.named_parameters():  # gains of 1 would hide a norm that is not applied
            if "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def tokens(rows: int, length: int, seed: int = 1, vocab: int = 61) -> torch.Tensor:
    return torch.randint(vocab, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> Path:
    return shared_dir / "golden" / "openlm"


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(golden / "expected.safetensors"))


def by_hand(model: OpenLMForCausalLM, row: torch.Tensor) -> torch.Tensor:
    """A second implementation in float64, one token, head and rotary pair at a time; row [T] -> logits [T, V]."""
    w = {k: v.double() for k, v in model.state_dict().items()}
    heads, width = model.config.n_heads, model.config.dim // model.config.n_heads

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * w[f"{name}.weight"] + w.get(f"{name}.bias", 0.0)

    def rotate(x: torch.Tensor, position: int) -> torch.Tensor:
        out = x.clone()
        for h in range(heads):
            for i in range(width // 2):
                a, b = h * width + i, h * width + i + width // 2
                angle = position / 10000 ** (2 * i / width)
                out[a] = x[a] * math.cos(angle) - x[b] * math.sin(angle)
                out[b] = x[a] * math.sin(angle) + x[b] * math.cos(angle)
        return out

    x = w["model.tok_embeddings.weight"][row]
    for n in range(model.config.n_layers):
        p = f"model.layers.{n}"
        h = norm(x, f"{p}.attention_norm")
        q, k, v = (h @ part.T for part in w[f"{p}.attention.in_proj.weight"].split(model.config.dim))
        if model.config.apply_qk_norm:
            q, k = norm(q, f"{p}.attention.q_norm"), norm(k, f"{p}.attention.k_norm")
        q = torch.stack([rotate(one, t) for t, one in enumerate(q)])
        k = torch.stack([rotate(one, t) for t, one in enumerate(k)])
        attended = torch.zeros_like(x)
        for head in range(heads):
            columns = slice(head * width, (head + 1) * width)
            for t in range(len(row)):
                score = (k[: t + 1, columns] @ q[t, columns]) / math.sqrt(width)
                attended[t, columns] = score.softmax(0) @ v[: t + 1, columns]
        x = x + attended @ w[f"{p}.attention.out_proj.weight"].T
        h = norm(x, f"{p}.ffn_norm")
        gate, up = (h @ w[f"{p}.feed_forward.w12.weight"].T).chunk(2, dim=-1)
        x = x + (gate / (1 + (-gate).exp()) * up) @ w[f"{p}.feed_forward.w3.weight"].T
    return norm(x, "model.norm") @ w["model.output.weight"].T


@pytest.mark.parametrize(
    "settings",
    [{}, {"apply_qk_norm": False}, {"norm_type": "lp_layer_norm"}, {"n_heads": 2, "dim": 48}, {"weight_tying": True}],
    ids=["dclm", "no-qk-norm", "biased-norm", "wide-heads", "tied"],
)
def test_agrees_with_a_second_implementation(settings: dict[str, object]) -> None:
    model = make_model(**settings)
    ids = tokens(2, 7)
    logits = model(ids).logits
    for row, got in zip(ids, logits, strict=True):
        torch.testing.assert_close(got.double(), by_hand(model, row), atol=2e-5, rtol=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_golden_logits(golden: Path, expected: dict[str, torch.Tensor], attention: str) -> None:
    register()
    model = AutoModelForCausalLM.from_pretrained(golden, attn_implementation=attention)
    with torch.no_grad():
        logits = model(expected["input_ids"]).logits
    assert (logits - expected["logits"]).abs().max() < 1e-5


def test_golden_logits_with_cache(golden: Path, expected: dict[str, torch.Tensor]) -> None:
    """A prompt, then a block, then one token at a time."""
    model = load_model(golden, device="cpu")
    ids, cache, parts = expected["input_ids"], None, []
    for begin, end in [(0, 30), (30, 50), *((t, t + 1) for t in range(50, 64))]:
        output = model(ids[:, begin:end], past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        parts.append(output.logits)
    assert cache.get_seq_length() == 64
    assert (torch.cat(parts, 1) - expected["logits"]).abs().max() < 1e-5


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("explicit_positions", [False, True])
def test_golden_logits_padded(
    golden: Path, expected: dict[str, torch.Tensor], side: str, explicit_positions: bool
) -> None:
    """Rows of 64, 40 and 11 real tokens in one batch: padding changes nothing at real positions."""
    model = load_model(golden, device="cpu")
    lengths, total = [64, 40, 11], 64
    ids = torch.full((3, total), 7)
    mask = torch.zeros(3, total, dtype=torch.long)
    spans = [slice(total - n, total) if side == "left" else slice(0, n) for n in lengths]
    for row, (span, n) in enumerate(zip(spans, lengths, strict=True)):
        ids[row, span], mask[row, span] = expected["input_ids"][row, :n], 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0) if explicit_positions else None
    logits = model(ids, attention_mask=mask, position_ids=positions).logits
    for row, (span, n) in enumerate(zip(spans, lengths, strict=True)):
        assert (logits[row, span] - expected["logits"][row, :n]).abs().max() < 1e-5
    assert logits.isfinite().all()


def test_golden_nested_config(golden: Path, expected: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """As open_lm's wrappers write it: everything in params_args_dict, among training arguments, other class names."""
    flat = json.loads((golden / "config.json").read_text())
    top = {"model_type": flat.pop("model_type"), "architectures": ["OpenLMModel"], "params": None}
    flat.pop("architectures")
    nested = {**flat, "lr": 0.002, "moe_freq": 0, "model": "open_lm_7b", "name": "run"}
    (tmp_path / "config.json").write_text(json.dumps({**top, "torch_dtype": "float32", "params_args_dict": nested}))
    shutil.copy(golden / "model.safetensors", tmp_path)
    model = load_model(tmp_path, device="cpu")
    assert (model(expected["input_ids"]).logits - expected["logits"]).abs().max() < 1e-5
    assert not hasattr(model.config, "lr")


def test_generation_with_cache_equals_without() -> None:
    model = make_model()
    prompt = tokens(2, 5)
    options = {"max_new_tokens": 20, "do_sample": False, "pad_token_id": 0}
    cached = model.generate(prompt, use_cache=True, **options)
    assert torch.equal(cached, model.generate(prompt, use_cache=False, **options))
    assert cached.shape == (2, 25)
    greedy = prompt  # the definition
    for _ in range(20):
        greedy = torch.cat([greedy, model(greedy).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(cached, greedy)


def test_generation_from_left_padded_prompts_equals_one_by_one() -> None:
    model = make_model()
    prompts = [tokens(1, n, seed=n) for n in (3, 9, 6)]
    options = {"max_new_tokens": 15, "do_sample": False, "pad_token_id": 0}
    ids, mask = torch.zeros(3, 9, dtype=torch.long), torch.zeros(3, 9, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, 9 - prompt.shape[1] :], mask[row, 9 - prompt.shape[1] :] = prompt[0], 1
    together = model.generate(ids, attention_mask=mask, **options)
    for row, prompt in enumerate(prompts):
        assert torch.equal(together[row, 9:], model.generate(prompt, **options)[0, prompt.shape[1] :])


def test_ready_4d_mask_is_used_as_it_is() -> None:
    model = make_model()
    ids = tokens(1, 6)
    allowed = torch.ones(6, 6, dtype=torch.bool).tril()
    causal = torch.zeros(1, 1, 6, 6).masked_fill(~allowed, torch.finfo(torch.float32).min)
    torch.testing.assert_close(model(ids, attention_mask=causal).logits, model(ids).logits, atol=1e-5, rtol=0)
    allowed[3:, :3] = False  # two documents in one row
    blocks = torch.zeros(1, 1, 6, 6).masked_fill(~allowed, torch.finfo(torch.float32).min)
    second = model(ids, attention_mask=blocks).logits[:, 3:]
    torch.testing.assert_close(second, model(ids[:, 3:]).logits, atol=1e-5, rtol=0)


def test_logits_to_keep_hidden_states_and_loss() -> None:
    model = make_model()
    ids = tokens(2, 8)
    full = model(ids, output_hidden_states=True, labels=ids)
    assert torch.allclose(model(ids, logits_to_keep=3).logits, full.logits[:, -3:], atol=1e-6)
    assert len(full.hidden_states) == 3
    loss = torch.nn.functional.cross_entropy(full.logits[:, :-1].reshape(-1, 61), ids[:, 1:].reshape(-1))
    torch.testing.assert_close(full.loss, loss)
    torch.testing.assert_close(model(inputs_embeds=model.model.tok_embeddings(ids)).logits, full.logits)


@pytest.mark.parametrize("tied", [False, True])
def test_save_and_load_keeps_config_and_logits(tmp_path: Path, tied: bool) -> None:
    model = make_model(weight_tying=tied, apply_qk_norm=False)
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path, device="cpu")
    assert type(again).__name__ == "OpenLMForCausalLM"
    ids = tokens(1, 9)
    assert torch.equal(again(ids).logits, model(ids).logits)
    assert not any(p.requires_grad for p in again.parameters())
    ignored = {"dtype": None, "_name_or_path": None}
    assert again.config.to_dict() | ignored == model.config.to_dict() | ignored


def test_checkpoint_names_and_shapes() -> None:
    """DCLM-7B's layout at its own sizes, without memory for it."""
    with torch.device("meta"):
        model = OpenLMForCausalLM(OpenLMConfig(n_layers=1))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes == {
        "model.tok_embeddings.weight": (50432, 4096),
        "model.layers.0.attention.in_proj.weight": (12288, 4096),
        "model.layers.0.attention.out_proj.weight": (4096, 4096),
        "model.layers.0.attention.q_norm.weight": (4096,),
        "model.layers.0.attention.k_norm.weight": (4096,),
        "model.layers.0.feed_forward.w12.weight": (22016, 4096),
        "model.layers.0.feed_forward.w3.weight": (4096, 11008),
        "model.layers.0.attention_norm.weight": (4096,),
        "model.layers.0.ffn_norm.weight": (4096,),
        "model.norm.weight": (4096,),
        "model.output.weight": (50432, 4096),
    }
    assert model.get_input_embeddings() is model.model.tok_embeddings
    assert model.get_output_embeddings() is model.model.output


@pytest.mark.parametrize(("dim", "width"), [(128, 512), (512, 1536), (2048, 5632), (4096, 11008), (5120, 13824)])
def test_feed_forward_width(dim: int, width: int) -> None:
    assert OpenLMConfig(dim=dim).intermediate_size == width


def test_standard_names_are_aliases() -> None:
    config = OpenLMConfig(**SIZES, **NORM)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (32, 2, 4)
    assert (config.num_key_value_heads, config.max_position_embeddings, config.tie_word_embeddings) == (4, 64, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ffn_type": "moe"}, "ffn_type moe is not supported; use swiglu"),
        ({"positional_embedding_type": "head_rotary"}, "positional_embedding_type head_rotary"),
        ({"norm_type": "rms_norm"}, "norm_type rms_norm is not supported"),
        ({"attn_name": "custom_attn"}, "attn_name custom_attn"),
        ({"moe_freq": 2}, "moe_freq 2"),
        ({"qk_norm": False}, "qk_norm is False but apply_qk_norm is True"),
        ({"n_heads": 5}, "dim 32 does not split into 5 heads"),
        ({"n_heads": None}, "no n_heads"),
        ({"apply_qk_norm": None}, "no apply_qk_norm"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_bad_configs_are_named(tmp_path: Path, change: dict[str, object], message: str, nested: bool) -> None:
    settings = {k: v for k, v in {**SIZES, **NORM, **change}.items() if v is not None}
    body = {"params_args_dict": settings} if nested else settings
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "openlm", **body}))
    with pytest.raises(InputError, match=r"config\.json") as caught:
        load_config(tmp_path)
    assert message in str(caught.value)


def test_old_names_are_understood() -> None:
    config = OpenLMConfig(hidden_dim=64, n_heads=2, qk_norm=False, model_norm="default_layer_norm")
    assert (config.dim, config.apply_qk_norm, config.norm_bias) == (64, False, True)


def test_missing_weight_is_refused(tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.feed_forward.w12.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"1 weights are missing, the first is model.layers.1.feed_forward.w12"):
        load_model(tmp_path, device="cpu")


def test_rotary_tables_in_bfloat16_are_rounded_float32_angles() -> None:
    positions = torch.tensor([[0, 1, 2047]])
    cos, sin = rotary_tables(positions, 128, torch.float32)
    torch.testing.assert_close(cos.square() + sin.square(), torch.ones(1, 3, 128))
    assert torch.equal(rotary_tables(positions, 128, torch.bfloat16)[0], cos.bfloat16())
    assert cos[0, 2, 0].item() == pytest.approx(math.cos(2047), abs=1e-4)


def test_bfloat16_is_close_to_float32() -> None:
    model = make_model()
    ids = tokens(2, 16)
    full = model(ids).logits
    half = model.to(torch.bfloat16)(ids).logits
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).abs().max() < 0.1 * full.abs().max()


@pytest.mark.parametrize(("module", "count"), [("attention.in_proj", 3), ("feed_forward.w12", 2)])
def test_fused_splits_are_the_parts_that_the_model_uses(module: str, count: int) -> None:
    model = make_model()
    name = f"model.layers.0.{module}"
    linear = model.get_submodule(name)
    splits = fused_splits(name, linear.out_features)
    assert len(splits) == count
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    for part, chunk in zip(splits.values(), linear(x).chunk(count, -1), strict=True):
        torch.testing.assert_close(x @ linear.weight[part].T, chunk)


def test_fused_splits_of_other_linears() -> None:
    assert fused_splits("model.layers.0.attention.out_proj", 32) == {}
    assert fused_splits("model.layers.0.self_attn.qkv_proj", 32) == {}
    with pytest.raises(ValueError, match="do not split into 3 equal parts"):
        fused_splits("model.layers.0.attention.in_proj", 32)


def run_alone(code: str, *arguments: Path) -> str:
    """What a fresh Python prints, in which nothing is registered yet."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_calibrant_installs_no_import_hook() -> None:
    run_alone(
        "import sys\n"
        "before = [*sys.meta_path], [*sys.path_hooks]\n"
        "import calibrant\n"
        "assert ([*sys.meta_path], [*sys.path_hooks]) == before"
    )


@pytest.mark.parametrize("first", ["", "from transformers import AutoConfig, AutoModelForCausalLM"])
def test_auto_classes_find_it_once_it_is_registered(tmp_path: Path, first: str) -> None:
    make_model().save_pretrained(tmp_path)
    code = f"""
import sys
{first}
from calibrant.models.openlm.registration import register
register()
register()
from transformers import AutoConfig, AutoModelForCausalLM
config = AutoConfig.from_pretrained(sys.argv[1])
with __import__("torch").device("meta"):
    print(type(config).__name__, type(AutoModelForCausalLM.from_config(config)).__name__)
"""
    assert run_alone(code, tmp_path).split() == ["OpenLMConfig", "OpenLMForCausalLM"]


@pytest.mark.parametrize("name", ["load_tokenizer", "load_model"])
def test_loading_registers_it_and_a_llama_does_not_import_it(tmp_path: Path, tiny_model_dir: Path, name: str) -> None:
    for file in tiny_model_dir.glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    make_model(vocab_size=400).save_pretrained(tmp_path)
    code = f"""
import sys
from calibrant.models.checkpoint.loading import {name}
{name}(sys.argv[1])
print("calibrant.models.openlm.modeling" in sys.modules)
{name}(sys.argv[2])
print("calibrant.models.openlm.modeling" in sys.modules)
"""
    assert run_alone(code, tiny_model_dir, tmp_path).split() == ["False", "True"]


def test_importing_calibrant_is_light() -> None:
    code = "import sys, calibrant; print({'torch', 'transformers', 'numpy', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_tokenizer_beside_the_model_is_found(tmp_path: Path, tiny_model_dir: Path) -> None:
    for file in tiny_model_dir.glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    make_model(vocab_size=400).save_pretrained(tmp_path)
    register()
    assert AutoTokenizer.from_pretrained(tmp_path)("river mountain")["input_ids"]
    assert isinstance(AutoConfig.from_pretrained(tmp_path), OpenLMConfig)
    assert AutoModel.from_pretrained(tmp_path)(tokens(1, 3)).last_hidden_state.shape == (1, 3, 32)
