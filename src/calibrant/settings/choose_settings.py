"""The settings of `calibrant choose`: what races, by what it is chosen, and how long."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from calibrant.errors import InputError, shown
from calibrant.settings.compute_settings import DeviceSettings
from calibrant.settings.method_targets import METHODS
from calibrant.settings.number_texts import real_number, whole_number
from calibrant.settings.race_settings import MEASURE
from calibrant.settings.setting import setting
from calibrant.settings.target import Target, parse_target
from calibrant.settings.target_settings import TargetSettings
from calibrant.settings.text_settings import MOST_ROWS

BUDGET = "60m"  # where none is given
SECONDS = {"s": 1, "m": 60, "h": 3600}
ORIGINS = ("real", "synthetic")
USUAL_TARGET = "0.5"  # where neither a sparsity nor a width is asked for
FEWEST = 4  # sets of a race: two of each of two candidates
LONGEST_BUDGET = 1e9  # seconds: thirty years


@dataclass(frozen=True)
class Budget:
    """How long a race lasts: a number of sets, or seconds of this computer."""

    sets: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class ChooseSettings(TargetSettings, DeviceSettings):
    """What a race is between, what it chooses by, and when it ends."""

    method: str = setting("wanda", "method of compression, one that reads text", choices=METHODS)
    origins: tuple[str, ...] = setting(
        ORIGINS,
        "each source's own text (real), text that the model writes from its beginnings (synthetic)",
        choices=ORIGINS,
    )
    option: Mapping[str, str] = setting(
        {},
        "setting of the method; with several values each of them is a candidate for each text; may be repeated",
        metavar="KEY=VALUE[,VALUE]",
        wanted="KEY=VALUE, such as owl.lambda=0.05,0.08",
    )
    weight: Mapping[str, str] = setting(
        {},
        "how much a text or task of --for counts beside the others (1); may be repeated",
        metavar="NAME=NUMBER",
        wanted="NAME=NUMBER, such as chat=2",
    )
    samples: int | None = setting(
        None,
        "sequences in a set; default: as many as let every candidate have three sets within the budget",
        least=1,
        most=MOST_ROWS,
    )
    length: int | None = setting(None, "tokens in a sequence; default: as --samples", least=2)
    reference: str | None = setting(
        None, "what is used today: a candidate's name, or a calibration set", metavar="NAME|SET.parquet"
    )
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
    budget: str | None = setting(
        None, f"time here (60m, 90s, 2h) or sets of all candidates together; default {BUDGET}", metavar="TIME|SETS"
    )
    tokens: int = setting(4096, "tokens of each half of a judging text that are read", least=200)
    text_key: str = setting("text", "column, or key of JSONL, that holds the text", metavar="NAME")
    apply: bool = setting(False, "also write the pruned checkpoint, to ANSWER/model")
    cores: int | None = setting(None, "processor cores for jobs; default: all", least=1)
    dry_run: bool = setting(False, "say what would be done, and write nothing")

    @property
    def target(self) -> Target:
        """What is compressed to."""
        return self.given_target or parse_target(USUAL_TARGET)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.origins or len(set(self.origins)) < len(self.origins):
            raise InputError(f"--origins {','.join(self.origins)}: must be real, synthetic, or both, each once")
        if self.budget is not None:
            read_budget(self.budget)
        for name, text in self.weight.items():
            weight_of(name, text)


def read_budget(text: str) -> Budget:
    """`60m`, `90s`, `2h` as seconds, `48` as sets.

    Raises:
        InputError: neither, or too little of it.
    """
    wanted = f"must be a time such as 60m, 90s or 2h, or a number of sets, {FEWEST} or more"
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([smh])", text)
    if match and 0 < float(match[1]) * SECONDS[match[2]] <= LONGEST_BUDGET:
        return Budget(seconds=float(match[1]) * SECONDS[match[2]])
    try:
        sets = whole_number(text)
    except ValueError:
        sets = 0
    if not FEWEST <= sets <= MOST_ROWS:
        raise InputError(f"--budget {shown(text, 40)}: {wanted}")
    return Budget(sets=sets)


def weight_of(name: str, text: str) -> float:
    """The number of `--weight NAME=NUMBER`.

    Raises:
        InputError: it is none above 0.
    """
    try:
        number = real_number(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise InputError(f"--weight {shown(name, 40)}={shown(text, 40)}: must be a number above 0")
    return number
