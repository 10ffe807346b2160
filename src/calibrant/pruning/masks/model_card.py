"""The card of a pruned checkpoint: its base, how it was pruned, what that did to it, and how it is loaded."""

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

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
CAUSAL = "AutoModelForCausalLM"


@dataclass(frozen=True)
class Measured:
    """A number that was measured of the dense and of the pruned model.

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
    """
    base, method, asked = str(masks["model"]), str(masks["method"]), str(masks["sparsity"])
    name = f"{base.rsplit('/', 1)[-1]}, pruned by {method} to {_asked(asked)}"
    return front_matter(
        {
            "base_model": base if HUB_ID.fullmatch(base) else None,
            **licence_entries([licence], several=False),
            "library_name": "transformers",
            "pipeline_tag": "text-generation" if loader == CAUSAL else None,
            "tags": ["pruned", "sparse", method, "calibrant"],
        }
    ) + joined(
        [
            f"\n# {words_of(name)}",
            _what(masks, base, method, asked),
            "## Calibration",
            _calibration(masks, calibration),
            "## What was measured",
            joined([_measured(measured), sentence(said) if said else ""]).rstrip()
            or "Nothing was measured of this checkpoint by those who wrote it.",
            "## Make it again",
            fenced(
                [*recipe, *_commands(masks, base, method, asked, _recorded(masks) if options is None else options)],
                "sh",
            ),
            "## Licence",
            f"That of the base model: {words_of(licence) or NOT_STATED}. It holds for this one too.",
            "## Load it",
            fenced(_loading(loader), "python"),
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


def _loading(loader: str) -> list[str]:
    return [
        f"from transformers import {', '.join(sorted((loader, 'AutoTokenizer')))}",
        f'model = {loader}.from_pretrained("model")  # this folder',
        'tokenizer = AutoTokenizer.from_pretrained("model")',
    ]


def _asked(sparsity: str) -> str:
    return sparsity if ":" in sparsity else f"{f'{100 * float(sparsity):.4f}'.rstrip('0').rstrip('.')} %"


def _what(masks: Mapping[str, Any], base: str, method: str, asked: str) -> str:
    weights = (
        "The method changed weights that it kept, too."
        if masks["weights_updated"]
        else "All other weights are as they were."
    )
    return (
        f"{words_of(base)} (sha256 `{masks['model_sha256']}`) with weights of its decoder's linear layers set to zero: "
        f"{_asked(asked)} asked, {100 * masks['achieved_sparsity']:.2f} % achieved, by {words_of(method)}. {weights} "
        "The checkpoint has the shape and the names of its base, so that whatever loads that loads this; zeros save "
        "memory or time only where the program that runs it knows of them."
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
    return table(("measure", "dense", "pruned", "how sure"), rows)


def _recorded(masks: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a method as options; patterns N:M have no groups to choose."""
    found = {key: value for key, value in (masks.get("settings") or {}).items() if value is not None}
    if ":" in str(masks["sparsity"]):
        found.pop("group", None)
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in found.items()}


def _commands(masks: Mapping[str, Any], base: str, method: str, asked: str, options: Mapping[str, str]) -> list[str]:
    reads = [] if masks.get("calibration_sha256") is None else ["--calibration", "set.parquet"]
    given = [word for key, value in sorted(options.items()) for word in ("--option", f"{key}={value}")]
    dtype = ["--dtype", str(masks["dtype"])] if "dtype" in masks else []
    output = ["--output", "masks.safetensors"]
    how = ["--method", method, "--sparsity", asked]
    return [
        shlex.join(["calibrant", "prune", "--model", base, *reads, *how, *given, *dtype, *output]),
        shlex.join(["calibrant", "apply", "--model", base, "--masks", "masks.safetensors", "--output", "model"]),
    ]
