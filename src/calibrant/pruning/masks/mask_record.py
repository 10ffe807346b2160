"""What the metadata of a mask file hold: one description, for those who prune, apply, evaluate, inspect and report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.artefacts.metadata_forms import (
    Form,
    keys,
    listed,
    named,
    number,
    optional,
    sha256,
    text,
    truth,
    whole,
)
from calibrant.artefacts.tensor_header import read_header
from calibrant.pruning.masks import expert_tokens

STAGE = "prune"
SHARE = number(0, 1)
CONTENTS: dict[str, Form] = {
    "shapes": named(listed(whole(1), 2)),  # a packed mask does not tell its number of columns
    "weights_updated": truth,
    "weights_sha256": optional(sha256),  # of the record of the updated weights: it covers each of them
}
OF_LAYER: dict[str, Form] = {"name": text, "pattern": text, "requested_sparsity": SHARE}
WIDTH: dict[str, Form] = {  # where weights are quantized
    "quantized": keys(
        {
            "bits": whole(2),
            "group": optional(whole(2)),
            "symmetric": truth,
            "pruned": truth,  # whether there are masks beside the codes
            "codes": named(listed(whole(), 2)),  # [outputs, inputs] of each linear that has some
        }
    ),
    "rescaled": named(listed(whole())),  # shapes of other tensors that were changed, a norm's by AWQ
}
EXPERTS: dict[str, Form] = {"experts": expert_tokens.OF_LAYER}  # where a method counted their tokens
LAYER = keys({**CONTENTS, **OF_LAYER, "kept": named(whole())}, {**EXPERTS, **WIDTH})
MASKS = keys(
    {
        **CONTENTS,
        "model": text,
        "model_sha256": sha256,
        "method": text,
        "sparsity": text,
        "requested_sparsity": SHARE,
        "achieved_sparsity": SHARE,
        "layers": listed(keys({**OF_LAYER, "achieved_sparsity": SHARE}, {"weights": whole(), **EXPERTS})),
        "linears": named(SHARE),
    },
    {
        **WIDTH,
        "library_version": text,
        "calibration_sha256": optional(sha256),
        "sequences": whole(),
        "sequence_length": whole(),
        "settings": keys({}),
        "experts": expert_tokens.OF_MODEL,
        **dict.fromkeys(("dtype", "device", "attention", "products"), text),
    },
)


def mask_metadata(path: str | Path) -> Mapping[str, Any]:
    """The metadata of a mask file, from its header alone and without torch.

    Raises:
        InputError: missing, damaged, changed since, or no mask file.
    """
    return read_header(path, "masks", MASKS, STAGE).record.metadata
