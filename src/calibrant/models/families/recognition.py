"""Which family a configuration is of. To add one, write its declaration in this room and name it here."""

from typing import Any

from calibrant.models.families.decoder_plan import Plan, UnlikeError, read_plan
from calibrant.models.families.gemma import GEMMA2, GEMMA3
from calibrant.models.families.granite import GRANITE
from calibrant.models.families.llama import LLAMA
from calibrant.models.families.mistral import MISTRAL, MIXTRAL
from calibrant.models.families.olmo import OLMO2, OLMOE
from calibrant.models.families.open_lm import OPENLM
from calibrant.models.families.phi import PHI3
from calibrant.models.families.qwen import QWEN2, QWEN3, QWEN3_MOE
from calibrant.models.families.smollm import SMOLLM3

FAMILIES = (
    *(LLAMA, MISTRAL, MIXTRAL, QWEN2, QWEN3, QWEN3_MOE, GEMMA2, GEMMA3, PHI3, OLMO2, OLMOE, SMOLLM3, GRANITE, OPENLM),
)
_BY_TYPE = {family.model_type: family for family in FAMILIES}


def plan_of(config: Any) -> Plan:
    """The numbers of the decoder that a transformers configuration describes.

    Raises:
        UnlikeError: no declaration covers it; the message says why.
    """
    text = config.get_text_config(decoder=True)
    family = _BY_TYPE.get(getattr(text, "model_type", ""))
    if family is None:
        raise UnlikeError(f"no family is declared for model_type {getattr(text, 'model_type', None)}")
    return read_plan(family, text)


def unlike(config: Any, length: int = 0) -> str | None:
    """Why no declaration covers a configuration for texts of so many tokens, or None when one does."""
    try:
        plan = plan_of(config)
    except UnlikeError as error:
        return str(error)
    return beyond(plan, length)


def beyond(plan: Plan, length: int) -> str | None:
    """Why a text of so many tokens is too long for a decoder, or None when it is not."""
    if plan.longest is None or length <= plan.longest:
        return None
    return f"its rotary frequencies change beyond {plan.longest:,} tokens, and a text has {length:,}"
