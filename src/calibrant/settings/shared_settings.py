"""Settings that several stages of text have: how text is read, what heads a row, whose rows are whose."""

from dataclasses import dataclass
from typing import Any

from calibrant.settings.setting import Settings, described, setting


@dataclass(frozen=True, kw_only=True)
class ReadingSettings(Settings):
    """How files of documents are read."""

    text_key: str = setting("text", "column, or key of JSONL, that holds the text", metavar="NAME")
    paragraphs: bool = setting(
        False, "divide plain text files (.txt, .md) into documents at blank lines; each is one document by default"
    )

    @property
    def reading(self) -> dict[str, Any]:
        """These settings alone, as `read_documents` takes them."""
        return {each.name: getattr(self, each.name) for each in described(ReadingSettings)}

    @property
    def unusual_reading(self) -> dict[str, Any]:
        """Those of them that differ from the default, for an artefact's record."""
        usual = {each.name: each.default for each in described(ReadingSettings)}
        return {name: value for name, value in self.reading.items() if value != usual[name]}


@dataclass(frozen=True, kw_only=True)
class SourceSettings(ReadingSettings):
    """How documents are read and what their source is called."""

    source: str | None = setting(
        None,
        "name of the text source; default: the rows' own, else the file's name (its folder's where that is just "
        "documents, data, text or train)",
    )


@dataclass(frozen=True, kw_only=True)
class BosSettings(Settings):
    """Whether windows and rows begin with the token that some tokenizers put before every text.

    It is no token of the text or of a prefix, and none to predict; a window of a length holds one token of text less.
    """

    bos: str = setting(
        "auto",
        "beginning-of-text token at the head of every window or row, as one of its tokens: auto, where the model's "
        "tokenizer itself puts one; always; never",
        choices=("auto", "always", "never"),
    )


@dataclass(frozen=True, kw_only=True)
class SeedSettings(Settings):
    """How the sets of different seeds come from one text or generation."""

    seed: int = setting(0, "number of the set's block; with --sets pool, seed of the draw", least=0, wanted="0 or more")
    sets: str = setting(
        "blocks",
        "blocks: set k of m rows is the k-th block of m, so that the sets of different seeds share no row while there "
        "are enough; pool: each is drawn at random from all rows, as the paper's are",
        choices=("blocks", "pool"),
    )
