"""Which methods there are, and what each of them compresses to: a sparsity, a width, or both."""

from calibrant.errors import InputError
from calibrant.settings.target import Target

CRITERIA = ("magnitude", "wanda", "ria", "sparsegpt")
QUANTIZERS = ("rtn", "wrtn", "gptq", "awq")  # their target is a width
METHODS = (*CRITERIA, "dsnot", "owl", *QUANTIZERS)  # those that `pruning.methods` composes
BOTH = ("magnitude", "sparsegpt")  # those that prune and, asked for a width too, quantize what they keep
WITHOUT_DATA = ("magnitude", "rtn")  # those that read no text


def baseline(target: Target) -> str:
    """The method that reads no text, beside which every answer at this target is shown."""
    return "rtn" if target.pattern is None else "magnitude"


def check_target(method: str, target: Target) -> None:
    """Refuse a target that a method cannot compress to.

    Raises:
        InputError: names the method, the target and what would be right.
    """
    if method in QUANTIZERS:
        if target.width is None:
            raise InputError(
                f"method {method}: quantizes, and {target} gives no width; give --bits (4, and --group 64)"
            )
        if target.pattern is not None:
            raise InputError(
                f"method {method}: prunes nothing, so it does not take {target}; leave out the sparsity, or use "
                "sparsegpt, which does both"
            )
        return
    if target.pattern is None:
        raise InputError(
            f"method {method}: prunes, and {target} gives no sparsity; give --sparsity in place of --bits, or --method "
            f"{', '.join(QUANTIZERS[1:])} or {QUANTIZERS[0]}"
        )
    if target.width is not None and method not in BOTH:
        raise InputError(
            f"method {method}: does not quantize, so it does not take {target}; leave out the width, or use one of "
            f"{', '.join(BOTH)}"
        )
