"""A page as data: sections of paragraphs, lists, figures and tables. Templates show them in this order."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from calibrant.reporting.inference.observations import Statement
from calibrant.reporting.results.index import Study
from calibrant.reporting.results.records import Record
from calibrant.reporting.results.samples import Excerpt
from calibrant.reporting.tables.table import Table


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `link` is a place and its words, shown behind the text."""

    text: str
    note: bool = False
    link: tuple[str, str] | None = None
    kind: str = "paragraph"


@dataclass(frozen=True)
class Statements:
    """A list of statements, numbered where their order says something."""

    statements: Sequence[Statement]
    numbered: bool = False
    kind: str = "statements"


@dataclass(frozen=True)
class FigurePlace:
    """Where the figure of this name stands; nothing where it has nothing to draw."""

    name: str
    kind: str = "figure"


@dataclass(frozen=True)
class TablePlace:
    """A table; `only_page`: the Markdown summary leaves it out, it has a file of its own."""

    table: Table
    only_page: bool = False
    kind: str = "table"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: str = "heading"


@dataclass(frozen=True)
class Folded:
    """Blocks that a reader opens; Markdown shows them unless `only_page`."""

    summary: str
    blocks: Sequence["Block"]
    note: str = ""
    only_page: bool = False
    kind: str = "folded"


@dataclass(frozen=True)
class Pairs:
    """Names and values."""

    pairs: Sequence[tuple[str, str]]
    kind: str = "pairs"


@dataclass(frozen=True)
class Records:
    """What the study read, with the whole sidecars folded."""

    records: Sequence[Record]
    kind: str = "records"


@dataclass(frozen=True)
class Side:
    """One column of the browser."""

    title: str
    rows: Sequence[Excerpt]


@dataclass(frozen=True)
class Browser:
    """Rows of text to read; Markdown has none."""

    groups: Sequence[tuple[str, str, Sequence[Side]]]  # label, note, sides
    kind: str = "browser"


Block = Paragraph | Statements | FigurePlace | TablePlace | Heading | Folded | Pairs | Records | Browser


@dataclass(frozen=True)
class Section:
    """A section: its anchor, its name in the contents, its heading and what stands in it."""

    anchor: str
    name: str
    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """All that the templates show.

    Attributes:
        study: names and notes.
        title: the headline.
        found: what was found, in at most three statements: the first screen.
        facts: the strip below the headline.
        sections: those without any block are left out.
        runs: evaluations behind it.
    """

    study: Study
    title: str
    found: Sequence[Statement]
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section] = field(default_factory=tuple)
    runs: int = 0


def tables(found: Sequence[Table], *, only_page: bool = False) -> list[Block]:
    """A block for each table."""
    return [TablePlace(table, only_page) for table in found]
