"""OpenLM among transformers' auto classes, which then find it as they find transformers' own architectures."""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from calibrant.models.openlm.configuration import OpenLMConfig
from calibrant.models.openlm.modeling import OpenLMForCausalLM, OpenLMModel


def register() -> None:
    """Register OpenLM's configuration and models with the auto classes of this process; a second call changes nothing.

    Calibrant calls it where it opens a model whose config.json names OpenLM. Who loads such a model with
    transformers calls it first.
    """
    AutoConfig.register(OpenLMConfig.model_type, OpenLMConfig, exist_ok=True)
    AutoModel.register(OpenLMConfig, OpenLMModel, exist_ok=True)
    AutoModelForCausalLM.register(OpenLMConfig, OpenLMForCausalLM, exist_ok=True)
