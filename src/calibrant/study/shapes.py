"""What time and memory depend on in a decoder: its shape, known before the model is downloaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import read_json
from calibrant.errors import InputError
from calibrant.study.yaml_mappings import read_yaml

SHAPES = Path(__file__).with_name("shapes.yaml")


class UnknownSizeError(InputError):
    """Nothing can be reckoned for a model of unknown size."""


@dataclass(frozen=True)
class Shape:
    """A Llama-like decoder: four attention projections and a gated MLP a layer.

    queries, keys: outputs of the query projection and of the key projection (heads times head width).
    inner: width of the MLP. tied: the head is the embedding.
    """

    layers: int
    width: int
    inner: int
    queries: int
    keys: int
    vocabulary: int
    tied: bool = False

    @property
    def layer_weights(self) -> int:
        """Weights of a decoder layer's linears, all of which are pruned."""
        return self.width * (2 * self.queries + 2 * self.keys + 3 * self.inner)

    @property
    def linear_weights(self) -> int:
        """Weights of all decoder layers' linears."""
        return self.layers * self.layer_weights

    @property
    def embedding_weights(self) -> int:
        """Weights of the embedding or of the head."""
        return self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        """All parameters but the norms'."""
        return self.linear_weights + self.embedding_weights * (1 if self.tied else 2)


def shape_of_config(config: Mapping[str, Any]) -> Shape:
    """The shape that a model's config.json gives.

    Raises:
        InputError: a key is missing.
    """
    config = text_part(config)
    try:
        width, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        head = int(config.get("head_dim") or width // heads)
        return Shape(
            int(config["num_hidden_layers"]),
            width,
            int(config["intermediate_size"]),
            heads * head,
            int(config.get("num_key_value_heads") or heads) * head,
            int(config["vocab_size"]),
            bool(config.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"config.json: {error} is missing or no number, so the model's shape is not known") from None


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a config.json says of the language model: all that it says, and before that what its part for text says.

    Such a part may leave out what models of its type have by default, as LLaVA 1.5's does.
    """
    part = config.get("text_config")
    if not isinstance(part, Mapping):
        return config
    return {**_defaults(part), **config, **part}


def _defaults(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """What transformers takes for sizes that are not said."""
    if "hidden_size" in part or "model_type" not in part:
        return {}
    from transformers import CONFIG_MAPPING

    kind = str(part["model_type"])
    return CONFIG_MAPPING[kind]().to_dict() if kind in CONFIG_MAPPING else {}


def shape_of_size(parameters: float) -> Shape:
    """A shape of about so many parameters, in Llama's proportions, for a model of which nothing else is known.

    Llama has width / layers = 128 and inner = 2.7 times the width, so that parameters = 12.1 width^3 / 128.
    """
    width = max(1, round((parameters * 128 / 12.1) ** (1 / 3)))
    layers = max(1, round(width / 128))
    inner = max(1, round((parameters / (layers * width) - 4 * width) / 3))
    return Shape(layers, width, inner, width, width, 0)


def known_shape(model: Mapping[str, Any]) -> Shape:
    """The shape of a configuration's `model`: of a local folder by its config.json, else by its name in shapes.yaml.

    Raises:
        UnknownSizeError: neither is there.
        InputError: as `shape_of_config`.
    """
    file = Path(model["path"]) / "config.json" if "path" in model else None
    if file is not None and file.is_file():
        return shape_of_config(read_json(file))
    names = [str(model[key]) for key in ("id", "hub") if key in model]
    table = read_yaml(SHAPES)
    for name in names:
        if name in table:
            return Shape(**table[name])
    raise UnknownSizeError(
        f"the number of parameters of {' or '.join(names) or model['path']} is not known; give --set parameters=7e9"
    )
