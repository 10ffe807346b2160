"""Whether a model's weights come from a quantized file, and of how many bits: what its own records say."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

# llama.cpp's names of types: Q4_1, Q5_K_M, IQ3_XXS, TQ2_0; files are named MODEL.TYPE.gguf or MODEL-TYPE.gguf.
TYPE = re.compile(r"(?<![A-Za-z0-9])(?:I|T)?Q([1-8])(?:_[0-9A-Z]+)*(?![A-Za-z0-9])", re.IGNORECASE)
FULL = 16  # bits of a weight that is not quantized


class FileBits(NamedTuple):
    """The bits of a weight in the file that a model was made of, and what says so."""

    bits: int
    name: str


def bits_of_file(record: Mapping[str, Any], model_id: str, note: str = "") -> FileBits | None:
    """The bits of the quantized file behind a model; None where nothing says that there is one.

    A sidecar has the type of a GGUF file, or its name carries it. Where no sidecar names a file, the model's id or the
    study's note do, if they say that weights were dequantized.

    Args:
        record: the model's provenance sidecar, as the download stage writes it; empty without one.
        model_id: as results have it.
        note: what the study says of the model.
    """
    told_type = record.get("gguf")
    if isinstance(told_type, Mapping) and isinstance(told_type.get("bits"), int) and told_type["bits"] < FULL:
        return FileBits(told_type["bits"], str(told_type.get("file_type") or f"{told_type['bits']} bits"))
    origin = record.get("origin")
    places = [record, origin] if isinstance(origin, Mapping) else [record]
    names = [str(place[key]) for place in places for key in ("inner", "member", "path", "file") if place.get(key)]
    files = [name.rsplit("/", 1)[-1] for name in names if name.lower().endswith(".gguf")]
    told = [text for text in (model_id, note) if re.search(r"dequanti[sz]ed|gguf", text, re.IGNORECASE)]
    for text in (*files, *told):
        if found := TYPE.search(text):
            return FileBits(int(found[1]), text if text in files else found[0])
    return None
