"""The Markdown, LaTeX and CSV forms of a table, and their files. HTML is a template's matter."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from calibrant.artefacts.atomic import write_text
from calibrant.reporting.inference.statistics import Estimate
from calibrant.reporting.tables.table import MARK, WORDS, Table, Value

NOTHING = "The study has nothing for this table."
BROAD = "p{0.2\\linewidth}"  # a LaTeX column whose text is broken into lines


def to_markdown(table: Table) -> str:
    """A pipe table under a bold title, section headings as rows of their own, the caption below."""
    right = ["---" if c.kind in WORDS else "---:" for c in table.columns]
    lines = [_pipe([table.stub, *(c.heading for c in table.columns)]), "| " + " | ".join(["---", *right]) + " |"]
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
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape_latex(table.title)}. {escape_latex(table.caption)}}}",
        rf"  \begin{{tabular}}{{{''.join(alignment)}}}",
        r"    \toprule",
        _ampersands([table.stub, *(c.heading for c in table.columns)]),
    ]
    for section in table.sections:
        lines.append(r"    \midrule")
        if section.heading:
            lines.append(rf"    \multicolumn{{{len(alignment)}}}{{c}}{{{escape_latex(section.heading)}}} \\")
        for row in section.rows:
            lines.append(_ampersands([row.label, *row.texts(table.columns)]))
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]) + "\n"


def _ampersands(cells: Sequence[str]) -> str:
    return "    " + " & ".join(map(escape_latex, cells)) + r" \\"


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
    files = {
        "md": "\n".join(map(to_markdown, tables)) if tables else f"{NOTHING}\n",
        "csv": to_csv(tables) if tables else "table,section,row\n",
        "tex": "\n".join(map(to_latex, tables)) if tables else f"% {NOTHING}\n",
    }
    for suffix, text in files.items():
        write_text(folder / f"{name}.{suffix}", text)
