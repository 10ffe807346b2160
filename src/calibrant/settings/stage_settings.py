"""The settings of the stages that look at a model, and the table of every stage's settings.

What the command line takes, what Python takes, and what config.yaml's keys mean. Files that a stage reads and writes
are not here; `calibrant.stages` has them.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass

from calibrant.errors import InputError, shown
from calibrant.settings.batches import EVALUATION_TOKENS, EVALUATION_TOKENS_GPU, SCORING_TOKENS
from calibrant.settings.choose_settings import ChooseSettings
from calibrant.settings.compute_settings import ComputeSettings, PassSettings
from calibrant.settings.method_targets import METHODS
from calibrant.settings.setting import Settings, setting
from calibrant.settings.shared_settings import BosSettings
from calibrant.settings.target_settings import TargetSettings
from calibrant.settings.text_settings import (
    ContaminationSettings,
    ExportSettings,
    FilterSettings,
    GenerateSettings,
    SampleSettings,
    SimilaritySettings,
    TaskSettings,
)


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(BosSettings, ComputeSettings):
    """How samples are scored. Samples that begin with a beginning-of-text token keep it, whatever `bos` is."""

    span: str = setting(
        "continuation",
        "continuation: tokens behind the given prefix count; whole: all but the first token of the row",
        choices=("continuation", "whole"),
    )
    min_k: float = setting(
        50.0,
        "the lowest k % of the tokens enter Min-K%++",
        above=0,
        most=100,
        wanted="a percentage above 0 and at most 100",
    )
    batch_tokens: int = setting(SCORING_TOKENS, "at most so many tokens in a forward pass", least=1, wanted="1 or more")


@dataclass(frozen=True, kw_only=True)
class StatisticsSettings(PassSettings):
    """Which statistics of the dense model are collected."""

    kinds: tuple[str, ...] = setting(
        ("norm", "moments"),
        "norm (wanda, ria, owl, wrtn), moments (dsnot), magnitudes (awq), hessian (sparsegpt, gptq, awq; large)",
        choices=("norm", "moments", "magnitudes", "hessian"),
    )
    exclude: str | None = setting(
        None, "linear layers to leave out, as in prune's exclude=REGEX", metavar="REGEX", regex=True
    )


@dataclass(frozen=True, kw_only=True)
class PruneSettings(TargetSettings, PassSettings):
    """How a model is pruned, quantized, or both."""

    method: str = setting(MISSING, "method of pruning or quantization", choices=METHODS)
    option: Mapping[str, str] = setting(
        {},
        "setting of the method, such as owl.lambda=0.05; may be repeated (docs/pruning.md, docs/quantization.md)",
        metavar="KEY=VALUE",
        wanted="KEY=VALUE, such as owl.lambda=0.08",
    )


@dataclass(frozen=True, kw_only=True)
class ApplySettings(Settings):
    """In which form a pruned or quantized checkpoint is written."""

    format: str = setting(
        "hf",
        "hf: all weights in the checkpoint's number format; compressed-tensors: quantized layers as codes of 2, 4 or 8 "
        "bits, for transformers (with the package compressed-tensors) and vLLM",
        choices=("hf", "compressed-tensors"),
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(TaskSettings, BosSettings, ComputeSettings):
    """What a model is evaluated on, and how."""

    fewshot: Mapping[str, int] = setting(
        {},
        "examples in the prompt by task, as in mmlu=5,piqa=0 (mmlu 5, others 0)",
        least=0,
        wanted="0 or more",
    )
    text_tokens: int | None = setting(None, "only so many tokens of each text", least=1)
    document_tokens: int | None = setting(
        None, "only so many tokens of each document, from its start; for --text-average document and apart", least=1
    )
    text_average: str = setting(
        "corpus",
        "corpus: perplexity of a whole text, its documents joined; apart: of all its tokens, each document read by "
        "itself; document: mean of its documents' perplexities (the authors' code)",
        choices=("corpus", "apart", "document"),
    )
    measures: bool = setting(
        False, "also sums and counts by document and item, in OUTPUT.measures.parquet (always beside dense outputs)"
    )
    length: int | None = setting(
        None,
        "tokens of a window of perplexity (2048, or the model's longest if less)",
        least=2,
        wanted="at least 2, since the first token is only context",
    )
    batch_tokens: int | None = setting(
        None,
        f"tokens of one forward pass, padding included ({EVALUATION_TOKENS} on CPUs, {EVALUATION_TOKENS_GPU} on GPUs)",
        least=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.document_tokens is not None and self.text_average == "corpus":
            raise InputError(
                f"--document-tokens {self.document_tokens}: joined documents are not cut; use --text-average apart"
            )
        if self.fewshot and not self.tasks:
            raise InputError(f"--fewshot {shown(', '.join(self.fewshot))}: names tasks, and no --tasks are given")


@dataclass(frozen=True, kw_only=True)
class InspectSettings(ComputeSettings):
    """How much of each text set reconstruction errors are measured on."""

    sequences: int = setting(
        0,
        "only the first N of each set, those that it shares with the calibration set left out before; 0 for all",
        least=0,
        metavar="N",
        wanted="0 (all) or more",
    )
    tokens: int = setting(
        0, "only the first N tokens of a sequence; 0 for all", least=0, metavar="N", wanted="0 (all) or more"
    )


@dataclass(frozen=True, kw_only=True)
class SummarizeSettings(Settings):
    """What the report shows besides results."""

    scores: tuple[str, ...] = setting(
        (),
        "scores of a source's real or synthetic text, besides those of the index; may be repeated",
        metavar="SOURCE:ORIGIN=SCORES.parquet",
        listing="repeat",
    )
    no_real_text: bool = setting(False, "show no rows of real text, only generated ones")
    rows: int = setting(3, "rows of each text that the page shows", least=0)


@dataclass(frozen=True, kw_only=True)
class DownloadSettings(Settings):
    """Which assets of a configuration are fetched."""

    only: tuple[str, ...] = setting(
        (), "only these: model, source:NAME, text:NAME or task:NAME", metavar="ASSET", listing="space"
    )


@dataclass(frozen=True, kw_only=True)
class PlanSettings(Settings):
    """What of a study is counted, and whose rates are reckoned with."""

    config: Mapping[str, str] = setting(
        {},
        "as Snakemake's: preset=dclm-7b; may be repeated",
        metavar="KEY=VALUE",
        wanted="KEY=VALUE, such as preset=dclm-7b",
    )
    target: tuple[str, ...] = setting(
        (),
        "a table or figure, paper for all of them; may be repeated. Default: the study's own report",
        listing="repeat",
    )
    counts: bool = setting(False, "no estimate of hours and storage")
    machine: str | None = setting(
        None,
        "whose rates (here, which measures this computer, or one of study/assumptions.yaml); default: by the number of "
        "the model's parameters and the device",
    )
    set: Mapping[str, str] = setting(
        {},
        "a rate of the estimate; may be repeated",
        metavar="NAME=VALUE",
        wanted="NAME=NUMBER, such as products=9e13",
    )


STAGE_SETTINGS: dict[str, type[Settings]] = {
    "choose": ChooseSettings,
    "download": DownloadSettings,
    "sample": SampleSettings,
    "generate": GenerateSettings,
    "score": ScoreSettings,
    "filter": FilterSettings,
    "statistics": StatisticsSettings,
    "prune": PruneSettings,
    "apply": ApplySettings,
    "evaluate": EvaluateSettings,
    "similarity": SimilaritySettings,
    "contamination": ContaminationSettings,
    "inspect": InspectSettings,
    "export": ExportSettings,
    "summarize": SummarizeSettings,
    "plan": PlanSettings,
    "compute": ComputeSettings,  # no stage of its own: the section of a study
}
