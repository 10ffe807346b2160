"""The settings of every stage: what the command line takes, what Python takes, and what config.yaml's keys mean.

Files that a stage reads and writes are not here; `calibrant.stages` has them.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass

from calibrant.errors import InputError
from calibrant.settings.method_options import METHODS
from calibrant.settings.setting import Settings, setting

DTYPES = ("auto", "float32", "bfloat16", "float16")
CHANGED_BY_ROUNDING = "which rounds differently (docs/performance.md)"


@dataclass(frozen=True, kw_only=True)
class ComputeSettings(Settings):
    """On what a stage computes that runs the model."""

    dtype: str = setting(
        "auto",
        "number format; auto is the checkpoint's own where the device computes it at float32's rate or better, else "
        "float32",
        choices=DTYPES,
    )
    device: str = setting("auto", "cpu, cuda, cuda:N, mps (Apple's GPU) or auto, which takes a GPU when there is one")
    threads: int = setting(
        0,
        "CPU threads; 0 leaves PyTorch's default. Part of the result, since the order of additions depends on it",
        least=0,
        wanted="0 (PyTorch's default) or more",
    )
    resolved: str | None = setting(
        None,
        "what auto was resolved to where the study began (its number-format.json); auto is then that",
        metavar="FILE",
    )


@dataclass(frozen=True, kw_only=True)
class PassSettings(ComputeSettings):
    """How the forward passes of a pruning run are computed."""

    activations: str = setting(
        "auto",
        "where the calibration set's activations lie; auto takes the disk for sets larger than a quarter of the free "
        "memory (same result)",
        choices=("auto", "memory", "disk"),
    )
    attention: str = setting(
        "auto",
        f"sdpa: PyTorch's kernel; auto takes a faster one on the CPU, {CHANGED_BY_ROUNDING}",
        choices=("auto", "sdpa"),
    )
    products: str = setting(
        "auto",
        "plain: PyTorch's matrix products; auto takes faster ones for float32 on x86 processors, "
        f"{CHANGED_BY_ROUNDING}",
        choices=("auto", "plain"),
    )


@dataclass(frozen=True, kw_only=True)
class ReadingSettings(Settings):
    """How files of documents are read."""

    paragraphs: bool = setting(
        False, "divide plain text files (.txt) into documents at blank lines; each is one document by default"
    )


@dataclass(frozen=True, kw_only=True)
class SampleSettings(ReadingSettings):
    """How windows of text are drawn from documents."""

    samples: int = setting(128, "sequences in a set (the paper uses 128)", least=1, wanted="1 or more")
    length: int = setting(2048, "tokens in a sequence (the paper uses 2048)", least=2, wanted="2 or more tokens")
    seed: int = setting(0, "seed of the draw", least=0, wanted="0 or more")
    packing: str = setting(
        "stream",
        "stream draws windows of the joined documents; document draws them from single documents longer than the "
        "length. One sampler for every source keeps the comparison fair",
        choices=("stream", "document"),
    )
    separator: str = setting(r"\n\n", r"text between documents of a stream (\n and \t are understood)")
    retokenise: bool = setting(
        False,
        "tokenise the text of generated rows anew, which the authors' code does and which changes some tokens; rows "
        "keep their own tokens by default",
    )
    source: str | None = setting(None, "name of the text source; default: the rows' own, else the file's name")


@dataclass(frozen=True, kw_only=True)
class DecodingSettings(Settings):
    """How tokens are drawn (paper, section 5.1: 50, 0.95, 0.6, 1.2) and when a row ends.

    `end_of_text`: `suppress` never draws a special token, so that every row is full; `stop` ends a row where the
    model draws one, behind the first new token, which is never special.
    """

    top_k: int = setting(
        50, "candidates kept before a draw; 0 keeps all", least=0, wanted="1 or more, or 0 to keep every token"
    )
    top_p: float = setting(
        0.95,
        "probability mass kept before a draw",
        above=0,
        most=1,
        wanted="above 0 and at most 1 (1 keeps every token)",
    )
    temperature: float = setting(0.6, "divides the logits", above=0)
    repetition_penalty: float = setting(
        1.2, "penalty on tokens that the row already holds", above=0, wanted="above 0 (1 changes nothing)"
    )
    end_of_text: str = setting(
        "suppress",
        "suppress: special tokens are never drawn, every row is full; stop: a row ends where the model ends it",
        choices=("suppress", "stop"),
    )


@dataclass(frozen=True, kw_only=True)
class GenerateSettings(ComputeSettings, DecodingSettings, ReadingSettings):
    """How the model continues the beginnings of documents (paper, sections 4 and 5.1)."""

    prefix_length: int = setting(
        4,
        "tokens of a document that start a row; 0: the beginning-of-text token alone",
        least=0,
        wanted="0 or more",
    )
    samples: int = setting(5000, "rows (the paper uses 5000)", least=1, wanted="1 or more")
    tokens: int = setting(
        0,
        "begin no more rows once the written ones hold so many tokens; 0: write all rows",
        least=0,
        wanted="1 or more, or 0 to write every row",
    )
    length: int = setting(2048, "tokens per row", least=2, wanted="2 or more tokens")
    length_means: str = setting(
        "total", "total: the prefix is included in the length; new: it comes on top", choices=("total", "new")
    )
    seed: int = setting(0, "seed of the draw of documents and of every row", least=0, wanted="0 or more")
    bos: bool = setting(False, "put a beginning-of-text token first; it counts as one token of the prefix")
    batch_size: int = setting(
        0, "rows written at a time; 0: what memory allows", least=0, wanted="1 or more, or 0 for what memory allows"
    )
    engine: str = setting(
        "auto",
        "what writes the text; auto takes native where it computes the model exactly, else transformers; vllm is for "
        "GPUs",
        choices=("auto", "native", "transformers", "vllm"),
    )
    tensor_parallel: int = setting(
        1, "GPUs over which vllm spreads the model", least=1, wanted="1, or more with --engine vllm"
    )
    source: str | None = setting(None, "name of the text source; default: the rows' own, else the file's name")
    quiet: bool = setting(False, "no progress bar")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tensor_parallel > 1 and self.engine != "vllm":
            raise InputError(f"--tensor-parallel {self.tensor_parallel}: must be 1, or more with --engine vllm")


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(ComputeSettings):
    """How samples are scored."""

    span: str = setting(
        "continuation",
        "continuation: tokens behind the given prefix count; whole: all but the first token",
        choices=("continuation", "whole"),
    )
    min_k: float = setting(
        50.0,
        "the lowest k % of the tokens enter Min-K%++",
        above=0,
        most=100,
        wanted="a percentage above 0 and at most 100",
    )
    batch_tokens: int = setting(4096, "at most so many tokens in a forward pass", least=1, wanted="1 or more")


@dataclass(frozen=True, kw_only=True)
class FilterSettings(Settings):
    """Which generated samples are dropped, and how many of the rest are drawn."""

    drop: float = setting(
        0.2,
        "share of the samples, those of highest perplexity, that is dropped (the paper drops 0.2)",
        least=0,
        below=1,
        wanted="at least 0 and below 1 (0.2 drops a fifth)",
    )
    take: int | None = setting(
        None, "draw so many of the rest without replacement; default: keep all", least=1, wanted="1 or more"
    )
    seed: int = setting(0, "seed of that draw", least=0, wanted="0 or more")


@dataclass(frozen=True, kw_only=True)
class StatisticsSettings(PassSettings):
    """Which statistics of the dense model are collected."""

    kinds: tuple[str, ...] = setting(
        ("norm", "moments"),
        "norm (wanda, ria, owl), moments (dsnot), hessian (sparsegpt; large)",
        choices=("norm", "moments", "hessian"),
    )
    exclude: str | None = setting(None, "linear layers to leave out, as in prune's exclude=REGEX", metavar="REGEX")


@dataclass(frozen=True, kw_only=True)
class PruneSettings(PassSettings):
    """How a model is pruned."""

    method: str = setting(MISSING, "pruning method", choices=METHODS)
    sparsity: str = setting(MISSING, "share to prune (0.6) or N:M with N of every M kept (2:4)")
    option: Mapping[str, str] = setting(
        {},
        "setting of the method, such as owl.lambda=0.05; may be repeated (docs/pruning.md lists them)",
        metavar="KEY=VALUE",
        wanted="KEY=VALUE, such as owl.lambda=0.08",
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(ComputeSettings, ReadingSettings):
    """What a model is evaluated on, and how."""

    tasks: tuple[str, ...] = setting((), "names of lm-eval tasks or of your own, separated by commas")
    limit: int | None = setting(None, "at most so many documents of each task, from the start", least=1)
    fewshot: Mapping[str, int] = setting(
        {},
        "examples in the prompt by task, as in mmlu=5,piqa=0 (mmlu 5, others 0)",
        least=0,
        wanted="0 or more",
    )
    text_tokens: int | None = setting(None, "only so many tokens of each text", least=1)
    text_average: str = setting(
        "corpus",
        "corpus: perplexity of a whole text; document: mean of its documents' perplexities (the authors' code)",
        choices=("corpus", "document"),
    )
    length: int | None = setting(
        None,
        "tokens of a window of perplexity (2048, or the model's longest if less)",
        least=2,
        wanted="at least 2, since the first token is only context",
    )
    batch_tokens: int | None = setting(
        None, "tokens of one forward pass, padding included (2048 on CPUs, 16384 on GPUs)", least=1
    )


@dataclass(frozen=True, kw_only=True)
class SimilaritySettings(ReadingSettings):
    """How corpora are compared (paper, section 3.4)."""

    shingle: str = setting("word", "what a shingle is made of", choices=("word", "token", "char"))
    n: int = setting(3, "words, tokens or characters in a shingle", least=1)
    amount: int | None = setting(None, "words, tokens or characters of each corpus; default: the smallest's", least=1)
    permutations: int = setting(
        4096,
        "hash permutations of the estimate",
        least=4096,
        wanted="4096 or more; fewer are too few to tell similarities near 0.01",
    )
    seed: int = setting(0, "seed of the documents drawn and of the permutations", least=0, wanted="0 or more")
    threshold: float = setting(0.8, "Jaccard similarity of near-duplicates", above=0, below=1)


@dataclass(frozen=True, kw_only=True)
class ContaminationSettings(ReadingSettings):
    """When an evaluation item counts as found in calibration text."""

    tasks: tuple[str, ...] = setting((), "names of lm-eval tasks or of your own, separated by commas")
    limit: int | None = setting(None, "at most so many documents of each task, as for evaluate", least=1)
    n: int = setting(8, "words in a shingle", least=1)
    threshold: float = setting(0.2, "share of an item's shingles from which it counts as found", above=0, most=1)


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
    "download": DownloadSettings,
    "sample": SampleSettings,
    "generate": GenerateSettings,
    "score": ScoreSettings,
    "filter": FilterSettings,
    "statistics": StatisticsSettings,
    "prune": PruneSettings,
    "evaluate": EvaluateSettings,
    "similarity": SimilaritySettings,
    "contamination": ContaminationSettings,
    "inspect": InspectSettings,
    "summarize": SummarizeSettings,
    "plan": PlanSettings,
    "compute": ComputeSettings,  # no stage of its own: the section of a study
}
