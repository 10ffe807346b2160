"""Code that compresses by other tools on the set of an answer: llm-compressor, and llama.cpp."""

import json
import shlex
from collections.abc import Mapping
from textwrap import indent
from typing import Any

from calibrant.settings.target import Target, Width, parse_target

PRUNING = {"wanda": "WandaPruningModifier", "sparsegpt": "SparseGPTModifier"}  # its OWL profile stops with an error
IGNORED = 'ignore=["re:.*lm_head"]'
TYPES = {2: "Q2_K", 3: "Q3_K_M", 4: "Q4_K_M", 5: "Q5_K_M", 6: "Q6_K"}  # llama.cpp's, by their bits; Q8_0 above


def other_tool(facts: Mapping[str, Any]) -> tuple[str, str]:
    """The tool that does most nearly what the race's method does, and code for it.

    Args:
        facts: of a race that ended.
    """
    if facts["method"] == "wrtn":
        return "llama.cpp", llama_cpp(facts)
    return "llm-compressor", llm_compressor(facts)


def model_place(facts: Mapping[str, Any]) -> str:
    """Where the dense model is, seen from the answer's folder; its name where that is not known."""
    return str(facts.get("model_place") or facts["model"])


def llm_compressor(facts: Mapping[str, Any]) -> str:
    """One-shot compression by llm-compressor on the tokens of the set.

    Pruning is run so by `benchmarks/llmcompressor_masks.py`; quantization was run with llm-compressor 0.14.0.1.
    """
    target, options = parse_target(facts["target"]), facts["chosen"]["options"] if facts["chosen"] else {}
    imports, lines = _recipe(facts["method"], target, options)
    model, left = json.dumps(model_place(facts)), "quantized" if target.width else "pruned"
    return f"""\
import torch
{imports}
from transformers import AutoModelForCausalLM, AutoTokenizer

rows = load_dataset("parquet", data_files="set.parquet", split="train").select_columns(["input_ids"])
model = AutoModelForCausalLM.from_pretrained({model}, dtype=torch.{facts["dtype"] or "float32"})
{lines}
oneshot(
    model=model, dataset=rows, recipe=recipe,
    max_seq_length={facts["length"]}, num_calibration_samples={facts["samples"]},
    shuffle_calibration_samples=False, propagate_error={options.get("sequential") != "dense"},
)
model.save_pretrained("{left}")
AutoTokenizer.from_pretrained({model}).save_pretrained("{left}")"""


def llama_cpp(facts: Mapping[str, Any]) -> str:
    """An importance matrix of the set for llama.cpp, whose quantization weighs errors as wrtn does."""
    model, width = shlex.quote(model_place(facts)), parse_target(facts["target"]).width
    kind = TYPES.get(width.bits if width else 4, "Q8_0")
    return f"""\
# rounding with weights by llama.cpp: of its types {kind} is the nearest
calibrant export --format imatrix --model {model} --calibration set.parquet --output imatrix.gguf
python convert_hf_to_gguf.py {model} --outtype f16 --outfile model-f16.gguf  # llama.cpp's
llama-quantize --imatrix imatrix.gguf model-f16.gguf model-{kind}.gguf {kind}"""


def _recipe(method: str, target: Target, options: Mapping[str, str]) -> tuple[str, str]:
    """Imports, sorted, and the lines that make `recipe`."""
    pruning = "" if target.pattern is None else _pruning(PRUNING.get(method, PRUNING["wanda"]), target)
    names = {"datasets": "load_dataset", "llmcompressor": "oneshot"}
    notes, parts, before = [], [], ""
    if pruning:
        names["llmcompressor.modifiers.pruning"] = pruning.partition("(")[0]
        if method not in PRUNING:
            notes.append(f"# llm-compressor has no {method} that works; this is Wanda on the same text.")
        parts.append(pruning)
    if target.width is not None:
        names["compressed_tensors.quantization"] = "QuantizationArgs, QuantizationScheme"
        before = _scheme(target.width, options) + "\n"
        if pruning:
            notes.append("# llm-compressor prunes first and then quantizes what is left; Calibrant does both at once.")
        if options.get("gptq.act_order") == "true" and options.get("gptq.static_groups") != "true":
            notes.append("# llm-compressor orders columns with gptq.static_groups=true alone.")
        if method == "awq":
            notes.append("# llm-compressor's AWQ needs a GPU.")
            names["llmcompressor.modifiers.transform.awq"] = "AWQModifier"
            parts.append(f"AWQModifier(n_grid={options.get('awq.candidates', 20)})")
        name, settings = ("QuantizationModifier", "") if method == "awq" else ("GPTQModifier", _gptq(options))
        names["llmcompressor.modifiers.quantization"] = name
        parts.append(f"{name}(config_groups=scheme, {IGNORED}{settings})")
    imports = "\n".join(f"from {module} import {name}" for module, name in sorted(names.items()))
    recipe = parts[0] if len(parts) == 1 else "[\n" + indent(",\n".join(parts), "    ") + ",\n]"
    return imports, "\n".join([*notes, f"{before}recipe = {recipe}"])


def _pruning(modifier: str, target: Target) -> str:
    kept, colon, of = str(target.pattern).partition(":")
    structure = f"{int(of) - int(kept)}:{of}" if colon else "0:0"  # removed of each group
    share = f"{target.sparsity:g}"
    return f'{modifier}(\n    sparsity={share}, mask_structure="{structure}", targets=["Linear"], {IGNORED}\n)'


def _scheme(width: Width, options: Mapping[str, str]) -> str:
    groups = 'strategy="channel"' if width.group is None else f'strategy="group", group_size={width.group}'
    symmetric = options.get("symmetric") == "true"
    return (
        f"weights = QuantizationArgs(num_bits={width.bits}, symmetric={symmetric}, {groups})\n"
        'scheme = {"weights": QuantizationScheme(targets=["Linear"], weights=weights)}'
    )


def _gptq(options: Mapping[str, str]) -> str:
    """Settings by their names there; `static` is an order that leaves the groups as the columns stand, the only one."""
    order = '"static"' if options.get("gptq.act_order") == "true" else "None"
    damping = options.get("gptq.damping", options.get("sparsegpt.damping", "0.01"))
    return f", actorder={order}, dampening_frac={damping}"
