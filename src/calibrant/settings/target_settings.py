"""The flags that say what a model is compressed to."""

from dataclasses import dataclass

from calibrant.errors import InputError
from calibrant.settings.setting import Settings, setting
from calibrant.settings.target import FEWEST_BITS, MOST_BITS, Target, target_of


@dataclass(frozen=True, kw_only=True)
class TargetSettings(Settings):
    """A sparsity, a width, or both, for methods that do both."""

    sparsity: str | None = setting(None, "share to prune (0.6) or N:M with N of every M kept (2:4)")
    bits: int | None = setting(
        None,
        f"bits of a weight, {FEWEST_BITS} to {MOST_BITS}, for methods that quantize",
        least=FEWEST_BITS,
        most=MOST_BITS,
    )
    group: int | None = setting(
        None, "columns of a row that share a scale, for --bits; default: the whole row", least=1, metavar="COLUMNS"
    )

    @property
    def target(self) -> Target:
        """What is compressed to.

        Raises:
            InputError: nothing was asked for, or something that no method takes.
        """
        return target_of(self.sparsity, self.bits, self.group)

    @property
    def given_target(self) -> Target | None:
        """The target; None where no flag gives one."""
        given = (self.sparsity, self.bits, self.group)
        return None if given == (None, None, None) else target_of(*given)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            self.target  # noqa: B018
        except InputError as error:
            raise InputError(f"--{error}") from None
