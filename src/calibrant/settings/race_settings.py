"""The settings of a race between calibration texts."""

from dataclasses import dataclass

from calibrant.settings.setting import Settings, setting

MEASURE = "kl"  # docs/race.md argues it from measurements


@dataclass(frozen=True, kw_only=True)
class RaceSettings(Settings):
    """What a race chooses by, and when it ends."""

    measure: str = setting(
        MEASURE,
        "what a text is chosen by: kl (divergence from the dense model), perplexity, agreement, or a metric of a task",
    )
    margin: float = setting(
        0.01,
        "texts whose losses differ by less than this share are as good; the race ends where that is sure",
        least=0,
        below=1,
        wanted="a share from 0 to below 1, such as 0.01 for one per cent",
    )
    budget: int = setting(48, "sets of all candidates together", least=4, wanted="4 or more sets")
    reference: str | None = setting(None, "the candidate that the others are compared with, which always gets sets")
