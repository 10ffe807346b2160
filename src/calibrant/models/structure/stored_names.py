"""What the checkpoint calls a model's decoder layers and linears, where transformers' class calls them otherwise.

LLaVA's `model.language_model.layers.0` lies on disk as `language_model.model.layers.0`.
"""

from collections.abc import Collection, Mapping
from itertools import takewhile

from calibrant.errors import InputError
from calibrant.models.checkpoint.key_map import ParameterPlace


def stored_names(places: Mapping[str, ParameterPlace]) -> dict[str, str]:
    """Parameter -> its key in the checkpoint, with the base model's prefix where the checkpoint leaves that out.

    Args:
        places: checkpoint key -> place in the model.
    """
    return {
        place.parameter: place.parameter if place.parameter.endswith("." + key) else key
        for key, place in places.items()
    }


def stored_layer(name: str, places: Mapping[str, ParameterPlace]) -> str:
    """A decoder layer's name in the checkpoint: its own, or what its weights' keys have in common by whole words.

    Args:
        name: of the layer in the model, `model.layers.0`.
        places: checkpoint key -> place in the model.
    """
    keys = [key for parameter, key in stored_names(places).items() if parameter.startswith(name + ".")]
    if all(key.startswith(name + ".") for key in keys):
        return name
    common = takewhile(lambda words: len(set(words)) == 1, zip(*(key.split(".") for key in keys), strict=False))
    return ".".join(words[0] for words in common) or name


def check_own_tensors(names: Collection[str], places: Mapping[str, ParameterPlace]) -> None:
    """Refuse linears that transformers makes of parts of the checkpoint's tensors, or of several.

    Args:
        names: of linears that are whole parameters, as `decoder_layers.find_linears` names them.
        places: checkpoint key -> place in the model.

    Raises:
        InputError: names the first such linear.
    """
    own = {key for key, place in places.items() if not place.converted}
    own |= {places[key].parameter for key in own}
    for name in names:
        if f"{name}.weight" not in own:
            raise InputError(
                f"{name}: the checkpoint stores this linear layer as a part of another tensor, or in parts, which "
                "cannot be pruned yet; leave it out with exclude=REGEX"
            )
