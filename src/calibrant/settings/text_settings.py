"""The settings of stages that make or compare text: how it is read, drawn, generated, filtered."""

from dataclasses import dataclass

from calibrant.errors import InputError, shown
from calibrant.settings.compute_settings import ComputeSettings, PassSettings
from calibrant.settings.setting import Settings, setting
from calibrant.settings.shared_settings import BosSettings, ReadingSettings, SeedSettings, SourceSettings

MOST_ROWS = 10_000_000  # of a set, or words in a shingle: far beyond use, within memory


@dataclass(frozen=True, kw_only=True)
class TaskSettings(ReadingSettings):
    """Which tasks are evaluated, and how many documents of each."""

    tasks: tuple[str, ...] = setting((), "names of lm-eval tasks or of your own, separated by commas")
    limit: int | None = setting(None, "at most so many documents of each task, from the start", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for task in self.tasks:
            if "/" in task or "\\" in task or task.startswith("."):
                raise InputError(
                    f"--tasks {shown(task)}: is no task's name, since it could lead out of a folder of rows"
                )


@dataclass(frozen=True, kw_only=True)
class SampleSettings(SourceSettings, SeedSettings, BosSettings):
    """How windows of text are drawn from documents."""

    samples: int = setting(
        128, "sequences in a set (the paper uses 128)", least=1, most=MOST_ROWS, wanted="between 1 and 10,000,000"
    )
    length: int = setting(2048, "tokens in a sequence (the paper uses 2048)", least=2, wanted="2 or more tokens")
    packing: str = setting(
        "stream",
        "stream draws windows of the joined documents; document draws them from single documents longer than the "
        "length. One sampler for every source keeps the comparison fair",
        choices=("stream", "document"),
    )
    separator: str = setting(r"\n\n", r"text between documents of a stream (\n and \t are understood)")
    joining: str = setting(
        "text",
        "text: a stream decodes to the documents joined by the separator; tokens: each of them is tokenised by itself, "
        "which leaves a space on either side of a separator with SentencePiece tokenizers such as Llama 2's",
        choices=("text", "tokens"),
    )
    retokenise: bool = setting(
        False,
        "tokenise the text of generated rows anew, which the authors' code does and which changes some tokens; rows "
        "keep their own tokens by default",
    )


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
    # Beyond these bounds float32 has no numbers for the quotients.
    temperature: float = setting(
        0.6, "divides the logits", least=0.001, most=1000, wanted="between 0.001 and 1000 (--top-k 1 is greedy)"
    )
    repetition_penalty: float = setting(
        1.2,
        "penalty on tokens that the row already holds",
        least=0.001,
        most=1000,
        wanted="between 0.001 and 1000 (1 changes nothing)",
    )
    end_of_text: str = setting(
        "suppress",
        "suppress: special tokens are never drawn, every row is full; stop: a row ends where the model ends it",
        choices=("suppress", "stop"),
    )


@dataclass(frozen=True, kw_only=True)
class GenerateSettings(DecodingSettings, SourceSettings, BosSettings, ComputeSettings):
    """How the model continues the beginnings of documents (paper, sections 4 and 5.1)."""

    prefix_length: int = setting(
        4,
        "tokens of a document that start a row, beside a beginning-of-text token; 0: that token alone",
        least=0,
        wanted="0 or more",
    )
    samples: int = setting(
        5000, "rows (the paper uses 5000)", least=1, most=MOST_ROWS, wanted="between 1 and 10,000,000"
    )
    first: int = setting(
        0,
        "number of the first row: those before it are another file's, which has the same seed",
        least=0,
        most=MOST_ROWS,
    )
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
    quiet: bool = setting(False, "no progress bar")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prefix_length == 0 and self.bos == "never":
            raise InputError(
                "--bos never: a row with --prefix-length 0 starts from the beginning-of-text token alone; give a "
                "longer prefix, or auto"
            )
        if self.tensor_parallel > 1 and self.engine != "vllm":
            raise InputError(f"--tensor-parallel {self.tensor_parallel}: must be 1, or more with --engine vllm")


@dataclass(frozen=True, kw_only=True)
class FilterSettings(SeedSettings):
    """Which generated samples are dropped, and how many of the rest are drawn.

    With `take` and `sets` blocks, set k has the rows of which the k-th block of samples keeps `take`.
    """

    drop: float = setting(
        0.2,
        "share of the samples, those of highest perplexity, that is dropped (the paper drops 0.2)",
        least=0,
        below=1,
        wanted="at least 0 and below 1 (0.2 drops a fifth)",
    )
    take: int | None = setting(
        None, "a set of so many that are left, without replacement; default: keep all", least=1, wanted="1 or more"
    )


@dataclass(frozen=True, kw_only=True)
class ExportSettings(PassSettings):
    """In which form a calibration set is written for other programs; for imatrix, how the model is computed."""

    format: str | None = setting(
        None,
        "what OUTPUT is: jsonl, a file with an object a row; parquet, a file of plain columns; text, a file of plain "
        "text, a blank line between two rows; dataset, a folder for datasets.load_from_disk with a card; imatrix, the "
        "importance matrix (GGUF) of llama.cpp for --model on the set. Default: see --output",
        choices=("jsonl", "parquet", "text", "dataset", "imatrix"),
    )


@dataclass(frozen=True, kw_only=True)
class SimilaritySettings(ReadingSettings):
    """How corpora are compared (paper, section 3.4)."""

    shingle: str = setting(
        "auto",
        "what a shingle is made of; auto: words, or characters where text has no spaces between words (Chinese, Thai)",
        choices=("auto", "word", "token", "char"),
    )
    n: int = setting(3, "words, tokens or characters in a shingle", least=1, most=MOST_ROWS)
    amount: int | None = setting(None, "words, tokens or characters of each corpus; default: the smallest's", least=1)
    permutations: int = setting(
        4096,
        "hash permutations of the estimate",
        least=4096,
        most=1 << 16,
        wanted="4096 to 65536; fewer are too few to tell similarities near 0.01",
    )
    seed: int = setting(
        0,
        "seed of the documents drawn and of the permutations",
        least=0,
        most=(1 << 32) - 1,
        wanted="0 to 4294967295",
    )
    threshold: float = setting(0.8, "Jaccard similarity of near-duplicates", above=0, below=1)


@dataclass(frozen=True, kw_only=True)
class ContaminationSettings(TaskSettings):
    """When an evaluation item counts as found in calibration text."""

    shingle: str = setting(
        "auto",
        "what a shingle is made of; auto: words, or characters where an item has no spaces between words",
        choices=("auto", "word", "char"),
    )
    n: int = setting(
        8,
        "words in a shingle, for each of which there are two characters in one of characters",
        least=1,
        most=MOST_ROWS,
    )
    threshold: float = setting(0.2, "share of an item's shingles from which it counts as found", above=0, most=1)
