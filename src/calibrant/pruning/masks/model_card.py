"""The card of a pruned or quantized checkpoint: its base, what was done, what that did to it, and how it is loaded."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from calibrant.artefacts.card_text import (
    CARD,
    NOT_STATED,
    fenced,
    front_matter,
    joined,
    licence_entries,
    sentence,
    table,
    words_of,
)
from calibrant.artefacts.provenance import read_provenance
from calibrant.errors import InputError
from calibrant.pruning.masks.compressed_form import FORMAT, METHOD
from calibrant.settings.sparsity import NM
from calibrant.settings.target import Target, parse_target

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
CAUSAL = "AutoModelForCausalLM"


@dataclass(frozen=True)
class Measured:
    """A number that was measured of the dense model and of this one.

    Attributes:
        name: of what, with its unit where it has one, such as `perplexity of fiction`.
        dense: of the model as it was; None where it was not measured, or is 0 by its meaning.
        pruned: of this model.
        spread: of the latter in words, such as `95 % interval 19.8 to 21.0`; "" where it is not known.
    """

    name: str
    dense: float | None
    pruned: float
    spread: str = ""


def model_card(
    masks: Mapping[str, Any],
    *,
    calibration: str = "",
    recipe: Sequence[str] = (),
    measured: Sequence[Measured] = (),
    said: str = "",
    licence: str = "",
    options: Mapping[str, str] | None = None,
    loader: str = CAUSAL,
    form: str = "hf",
) -> str:
    """README.md of a checkpoint that `calibrant apply` writes.

    Args:
        masks: the metadata of the masks (`mask_record.mask_metadata`).
        calibration: which set it was calibrated on, in words; "" for a method that reads none.
        recipe: the commands that make that set.
        measured: what was measured.
        said: a sentence on that.
        licence: of the base model, as `stated_licence` finds it.
        options: of the method, as they were given; by default all that its masks record.
        loader: the class of transformers that loads the checkpoint; another for one that takes images too.
        form: as `pruned_checkpoint.write_pruned_checkpoint` takes it.
    """
    base, method, asked = str(masks["model"]), str(masks["method"]), parse_target(str(masks["sparsity"]))
    name = f"{base.rsplit('/', 1)[-1]}, {_done(asked)} by {method} to {asked.label}"
    return front_matter(
        {
            "base_model": base if HUB_ID.fullmatch(base) else None,
            "base_model_relation": "quantized" if asked.width and HUB_ID.fullmatch(base) else None,
            **licence_entries([licence], several=False),
            "library_name": "transformers",
            "pipeline_tag": "text-generation" if loader == CAUSAL else None,
            "tags": [*_tags(asked, form), method, "calibrant"],
        }
    ) + joined(
        [
            f"\n# {words_of(name)}",
            _what(masks, base, asked),
            _stored(asked, form),
            "## Calibration",
            _calibration(masks, calibration),
            "## What was measured",
            joined([_measured(measured), sentence(said) if said else ""]).rstrip()
            or "Nothing was measured of this checkpoint by those who wrote it.",
            "## Make it again",
            fenced(
                [
                    *recipe,
                    *_commands(masks, base, asked, _recorded(masks, asked) if options is None else options, form),
                ],
                "sh",
            ),
            "## Licence",
            f"That of the base model: {words_of(licence) or NOT_STATED}. It holds for this one too.",
            "## Load it",
            fenced(_loading(loader, form), "python"),
        ]
    )


def stated_licence(model: str | Path) -> str:
    """The licence that a model's folder states: in its sidecar, or at the head of its card; "" where it states none."""
    folder = Path(model)
    if not folder.is_dir():
        return ""
    try:
        found = read_provenance(folder).get("licence")
        head = (folder / CARD).read_text(encoding="utf-8") if not found and (folder / CARD).is_file() else ""
    except (InputError, OSError, UnicodeDecodeError):
        return ""
    block = re.match(r"---\r?\n(.*?)\r?\n---", head, re.DOTALL)
    try:
        stated = yaml.safe_load(block[1]) if block else {}
    except yaml.YAMLError:
        stated = {}
    if not found and isinstance(stated, Mapping):
        found = stated.get("license_name") if stated.get("license") == "other" else stated.get("license")
    return found if isinstance(found, str) else ""


def _loading(loader: str, form: str) -> list[str]:
    return [
        *(["# pip install compressed-tensors"] if form == METHOD else []),
        f"from transformers import {', '.join(sorted((loader, 'AutoTokenizer')))}",
        f'model = {loader}.from_pretrained("model")  # this folder',
        'tokenizer = AutoTokenizer.from_pretrained("model")',
    ]


def _done(asked: Target) -> str:
    return " and ".join(word for word, part in (("pruned", asked.pattern), ("quantized", asked.width)) if part)


def _tags(asked: Target, form: str) -> list[str]:
    pruned = ["pruned", "sparse"] if asked.pattern else []
    quantized = ["quantized", f"{asked.width.bits}-bit"] if asked.width else []
    return [*pruned, *quantized, *([METHOD] if form == METHOD else [])]


def _what(masks: Mapping[str, Any], base: str, asked: Target) -> str:
    method = words_of(str(masks["method"]))
    said = [f"{words_of(base)} (sha256 `{masks['model_sha256']}`), {_done(asked)} by {method}"]
    if asked.pattern:
        achieved = f"{100 * masks['achieved_sparsity']:.2f} % achieved"
        share = Target(asked.pattern).label
        said.append(f"Weights of its decoder's linear layers are set to zero: {share} asked, {achieved}")
    if asked.width:
        found = masks["quantized"]
        columns = f"each {found['group']} columns of a row" if found["group"] else "each row"
        zero = "a scale" if found["symmetric"] else "a scale and a zero"
        said.append(
            f"{len(found['codes'])} of those layers have weights of {found['bits']} bits, with {zero} for {columns}"
        )
    if masks.get("rescaled"):
        said.append(f"{len(masks['rescaled'])} norms before them were changed to go with them")
    elif not asked.width:
        said.append(
            "The method changed weights that it kept, too"
            if masks["weights_updated"]
            else "All other weights are as they were"
        )
    return " ".join(f"{each}." for each in said)


def _stored(asked: Target, form: str) -> str:
    if form == METHOD:
        return (
            f"The quantized layers are stored as codes, in the format {FORMAT} of {METHOD}. Transformers loads it "
            f"where the package {METHOD} is installed, and computes the weights of the codes in the model's own number "
            "format. vLLM reads the same format; those who wrote this program did not run that."
        )
    codes = (
        f" `calibrant apply --format {METHOD}` stores the codes in place of the weights."
        if asked.width and not asked.pattern
        else ""
    )
    saved = "zeros save" if asked.width is None else "fewer bits save"
    return (
        "The checkpoint has the shape, the names and the number format of its base, so that whatever loads that loads "
        f"this; {saved} memory or time only where the program that runs it knows of them.{codes}"
    )


def _calibration(masks: Mapping[str, Any], calibration: str) -> str:
    sha256 = masks.get("calibration_sha256")
    if sha256 is None:
        return f"{words_of(str(masks['method']))} reads no calibration data."
    amount = ""
    if "sequences" in masks and "sequence_length" in masks:
        amount = f", {masks['sequences']:,} sequences of {masks['sequence_length']:,} tokens"
    computed = f" The passes were computed in {masks['dtype']}." if "dtype" in masks else ""
    return f"On {words_of(calibration) or 'a calibration set'}{amount} (sha256 `{sha256}`).{computed}"


def _measured(measured: Sequence[Measured]) -> str:
    if not measured:
        return ""
    rows = [
        [
            words_of(each.name),
            "" if each.dense is None else f"{each.dense:.4g}",
            f"{each.pruned:.4g}",
            words_of(each.spread) or NOT_STATED,
        ]
        for each in measured
    ]
    return table(("measure", "dense", "this model", "how sure"), rows)


def _recorded(masks: Mapping[str, Any], asked: Target) -> dict[str, str]:
    """The settings of a method as options; patterns N:M have no groups to choose."""
    found = {key: value for key, value in (masks.get("settings") or {}).items() if value is not None}
    if isinstance(asked.pattern, NM):
        found.pop("group", None)
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in found.items()}


def _commands(masks: Mapping[str, Any], base: str, asked: Target, options: Mapping[str, str], form: str) -> list[str]:
    reads = [] if masks.get("calibration_sha256") is None else ["--calibration", "set.parquet"]
    given = [word for key, value in sorted(options.items()) for word in ("--option", f"{key}={value}")]
    dtype = ["--dtype", str(masks["dtype"])] if "dtype" in masks else []
    output = ["--output", "masks.safetensors"]
    how = ["--method", str(masks["method"]), *asked.arguments]
    formed = [] if form == "hf" else ["--format", form]
    applied = ["--model", base, "--masks", "masks.safetensors", *formed, "--output", "model"]
    return [
        shlex.join(["calibrant", "prune", "--model", base, *reads, *how, *given, *dtype, *output]),
        shlex.join(["calibrant", "apply", *applied]),
    ]
