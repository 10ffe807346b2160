"""A table as data, and its Markdown, LaTeX and CSV forms. HTML is a template's matter."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from calibrant.artefacts.atomic import write_text
from calibrant.reporting.statistics import Estimate

DASH = "–"  # what is missing, never a zero
WORDS = ("text", "below")  # kinds of columns that hold words
BROAD = "p{0.2\\linewidth}"  # a LaTeX column whose text is broken into lines
MARK = "†"  # behind a value that a test set apart from others; the caption says which test


@dataclass(frozen=True)
class Column:
    """A column of numbers (or of words).

    Attributes:
        key: name in CSV files.
        title: heading.
        note: second line of the heading: unit, direction.
        decimals: decimal places of the numbers.
        signed: whether positive numbers carry a sign.
        kind: `spread` (mean ± sd), `number`, `interval`, `p`, `text` or `below`: a text too long for a column, which
            pages show on a line of its own below the row.
    """

    key: str
    title: str
    note: str = ""
    decimals: int = 2
    signed: bool = False
    kind: str = "number"


Value = Estimate | float | int | str | None


@dataclass(frozen=True)
class Row:
    """A labelled row; `role` styles it: dense, magnitude, real, synthetic, difference, pooled, published or plain."""

    label: str
    cells: Sequence[Value]
    role: str = "plain"
    seeds: int | None = None  # seeds of the cells; a cell with fewer says so
    marked: frozenset[int] = frozenset()  # cells that carry `MARK`

    def parts(self, columns: "Sequence[Column]") -> list[tuple[str, str]]:
        """The text of every cell and its addition."""
        shown = [
            parts(value, replace(column, signed=True) if self.role == "difference" else column, self.seeds)
            for value, column in zip(self.cells, columns, strict=True)
        ]
        return [(text + MARK * (i in self.marked), addition) for i, (text, addition) in enumerate(shown)]

    def texts(self, columns: "Sequence[Column]") -> list[str]:
        """The text of every cell in one string."""
        return [" ".join(part for part in pair if part) for pair in self.parts(columns)]


@dataclass(frozen=True)
class Section:
    """Rows under a common heading (a method); CSV files carry the heading in a column."""

    heading: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Table:
    """A titled table.

    Attributes:
        title: what it is, also the first column of the CSV (for several tables of one kind).
        caption: what to see and how to read it.
        stub: heading of the first column.
        columns, sections: the content.
    """

    title: str
    caption: str
    stub: str
    columns: Sequence[Column]
    sections: Sequence[Section] = field(default_factory=tuple)


def number(value: float, decimals: int, signed: bool = False) -> str:
    """A number with fixed decimals and a true minus sign; thousands are grouped by a comma."""
    rounded = round(value, decimals) + 0.0  # no "-0.0"
    text = f"{abs(rounded):,.{decimals}f}"
    sign = "−" if rounded < 0 else "+" if signed and rounded > 0 else ""
    return sign + text


def p_value(p: float) -> str:
    """`0.034`, `< 0.001`, `> 0.99`."""
    if p < 0.001:
        return "< 0.001"
    return "> 0.99" if p > 0.99 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def parts(value: Value, column: Column, seeds: int | None = None) -> tuple[str, str]:
    """The main text of a cell and its addition (`± 0.21`), either may be empty."""
    if value is None:
        return DASH, ""
    if isinstance(value, str):
        return value or DASH, ""
    if isinstance(value, Estimate):
        if column.kind == "interval":
            if value.low is None or value.high is None:
                return DASH, ""
            low, high = (number(x, column.decimals, column.signed) for x in (value.low, value.high))
            return f"{low} to {high}", ""
        addition = "" if value.sd is None else f"± {number(value.sd, column.decimals)}"
        if seeds is not None and value.n < seeds:
            addition = f"{addition} (n = {value.n})".strip()
        return number(value.mean, column.decimals, column.signed), addition
    if column.kind == "p":
        return p_value(float(value)), ""
    if isinstance(value, int):
        return number(value, 0), ""  # a count
    return number(value, column.decimals, column.signed), ""


def to_markdown(table: Table) -> str:
    """A pipe table under a bold title, section headings as rows of their own, the caption below."""
    titles = [f"{c.title} ({c.note})" if c.note else c.title for c in table.columns]
    right = ["---" if c.kind in WORDS else "---:" for c in table.columns]
    lines = [_pipe([table.stub, *titles]), "| " + " | ".join(["---", *right]) + " |"]
    for section in table.sections:
        if section.heading:
            lines.append(_pipe([f"**{section.heading}**", *([""] * len(table.columns))]))
        for row in section.rows:
            lines.append(_pipe([row.label, *row.texts(table.columns)]))
    return f"**{table.title}**\n\n" + "\n".join(lines) + f"\n\n{table.caption}\n"


def _pipe(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def to_latex(table: Table) -> str:
    """A booktabs table."""
    kinds = {"text": "l", "below": BROAD}
    alignment = ["l", *(kinds.get(c.kind, "r") for c in table.columns)]
    titles = [f"{c.title} ({c.note})" if c.note else c.title for c in table.columns]
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape_latex(table.title)}. {escape_latex(table.caption)}}}",
        rf"  \begin{{tabular}}{{{''.join(alignment)}}}",
        r"    \toprule",
        "    " + " & ".join(escape_latex(t) for t in [table.stub, *titles]) + r" \\",
    ]
    for section in table.sections:
        lines.append(r"    \midrule")
        if section.heading:
            lines.append(rf"    \multicolumn{{{len(alignment)}}}{{c}}{{{escape_latex(section.heading)}}} \\")
        for row in section.rows:
            lines.append("    " + " & ".join(escape_latex(t) for t in [row.label, *row.texts(table.columns)]) + r" \\")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]) + "\n"


_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "<": r"$<$",
    ">": r"$>$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "≈": r"$\approx$",
    "≥": r"$\geq$",
    MARK: r"$^\dagger$",
}


def escape_latex(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return re.sub("|".join(re.escape(c) for c in _LATEX), lambda m: _LATEX[m.group()], text)


def to_csv(tables: Sequence[Table]) -> str:
    """Tables of one layout as one CSV: full precision; estimates as _mean, _sd, _n, _low, _high.

    An empty field is a missing value. Where a row has marked cells, a last column names their columns.
    """
    columns = tables[0].columns
    with_marks = any(row.marked for table in tables for section in table.sections for row in section.rows)
    wide = [c.kind in ("spread", "interval") for c in columns]
    header = ["table", "section", "row"]
    for column, is_wide in zip(columns, wide, strict=True):
        header += [f"{column.key}_{part}" for part in ("mean", "sd", "n", "low", "high")] if is_wide else [column.key]
    header += ["marked"] * with_marks
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for table in tables:
        for section in table.sections:
            for row in section.rows:
                fields: list[Value] = [table.title, section.heading, row.label]
                for value, is_wide in zip(row.cells, wide, strict=True):
                    fields += _spread(value) if is_wide else [value if not isinstance(value, Estimate) else value.mean]
                fields += [" ".join(columns[i].key for i in sorted(row.marked))] * with_marks
                writer.writerow(["" if f is None else f for f in fields])
    return buffer.getvalue()


def _spread(value: Value) -> list[Value]:
    if isinstance(value, Estimate):
        return [value.mean, value.sd, value.n, value.low, value.high]
    return [value, None, None, None, None]


def write_tables(folder: Path, name: str, tables: Sequence[Table]) -> None:
    """Write `NAME.md`, `NAME.csv` and `NAME.tex`; the tables share one layout of columns.

    An empty list gives files that say so, since a workflow declares its outputs beforehand.
    """
    if not tables:
        write_text(folder / f"{name}.md", "The study has nothing for this table.\n")
        write_text(folder / f"{name}.csv", "table,section,row\n")
        write_text(folder / f"{name}.tex", "% The study has nothing for this table.\n")
        return
    write_text(folder / f"{name}.md", "\n".join(to_markdown(table) for table in tables))
    write_text(folder / f"{name}.csv", to_csv(tables))
    write_text(folder / f"{name}.tex", "\n".join(to_latex(table) for table in tables))
