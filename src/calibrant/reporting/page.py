"""The page and the Markdown summary: what they say besides tables and figures, and their rendering."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from calibrant.reporting.comparison import Comparison, method_label, sparsity_label
from calibrant.reporting.finding import Finding
from calibrant.reporting.index import Study
from calibrant.reporting.records import Record
from calibrant.reporting.samples import Excerpt
from calibrant.reporting.table import DASH, Table, number, to_markdown
from calibrant.version import __version__

TEMPLATES = Path(__file__).with_name("templates")
QUESTION = (
    "Pruning after training needs a little text to calibrate on. Does it matter which text, and does text that the "
    "model writes itself serve as well as, or better than, the real text that it continues?"
)


@dataclass(frozen=True)
class Plot:
    """A figure on the page: an SVG element, and words for those who see it and those who do not."""

    svg: str
    title: str
    caption: str
    description: str


@dataclass(frozen=True)
class Side:
    """One column of the browser."""

    title: str
    rows: Sequence[Excerpt]


@dataclass(frozen=True)
class Group:
    """One source in the browser."""

    label: str
    note: str
    sides: Sequence[Side]


@dataclass(frozen=True)
class Page:
    """All that the templates show."""

    study: Study
    title: str
    question: str
    facts: Sequence[tuple[str, str]]
    findings: Sequence[Finding]
    limitations: Sequence[str]
    figures: Mapping[str, Plot]
    claims: Sequence[Table]
    performance: Sequence[Table]
    rates: Sequence[Table]
    differences: Sequence[Table]
    differences_by_task: Sequence[Table]
    items: Table
    documents: Table | None
    data: Table
    contamination: Sequence[Table]
    browser: Sequence[Group]
    without_real: bool
    records: Sequence[Record]
    machine: Sequence[tuple[str, str]]
    runs: int


def facts(data: Comparison, study: Study, runs: int) -> list[tuple[str, str]]:
    """The strip below the headline."""
    seeds = sorted({len(data.values(c, m)) for c in data.cells if c.source for m in data.perplexities[:1]})
    found = [
        ("Model", study.model_id),
        ("Sources", ", ".join(data.source_label(s) for s in data.sources)),
        ("Methods", ", ".join(method_label(m) for m in data.methods)),
        ("Sparsity", ", ".join(sparsity_label(s) for s in data.sparsities)),
        ("Seeds a source", " to ".join(str(s) for s in dict.fromkeys([*seeds[:1], *seeds[-1:]]))),
        ("Evaluations", str(runs)),
    ]
    return [(name, value) for name, value in found if value]


def contents(page: Page) -> list[tuple[str, str]]:
    """Anchors and names of the sections that the page has."""
    sections = [
        ("claims", "Conclusions", bool(page.claims)),
        ("findings", "Findings", len(page.findings) > 1),
        ("figures", "Figures", bool({"performance", "differences"} & set(page.figures))),
        ("varied", "What else varies", bool({"amount", "prefix"} & set(page.figures) or page.rates)),
        ("tables", "Tables", True),
        ("data", "Calibration text", True),
        ("inside", "Inside the model", bool({"layers", "overlap"} & set(page.figures))),
        ("browser", "Read it yourself", bool(page.browser)),
        ("settings", "Settings", True),
        ("limitations", "Limitations", True),
        ("provenance", "Provenance", True),
    ]
    return [(anchor, name) for anchor, name, there in sections if there]


def html(page: Page, colours: Mapping[str, str]) -> str:
    """The self-contained page: styles and figures inline, no script, nothing fetched. All text is escaped."""
    return render("index.html.j2", vars(page), contents=contents(page), colours=colours)


def markdown(page: Page) -> str:
    """The summary as plain Markdown."""
    return render("summary.md.j2", vars(page))


def render(template: str, values: Mapping[str, Any], **more: Any) -> str:
    """Fill a template: `*.html.j2` with the style sheet and all text but a figure's SVG escaped, others as Markdown."""
    if not template.endswith(".html.j2"):
        environment = _environment(autoescape=False)
        environment.globals["markdown"] = to_markdown
        return environment.get_template(template).render(values, **more).rstrip() + "\n"
    environment = _environment(autoescape=True)
    css = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8").strip())
    environment.filters["element"] = Markup  # an SVG element of ours, which is not escaped
    return environment.get_template(template).render(values, css=css, **more)


def _environment(*, autoescape: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["units"] = _units
    environment.filters["spaced"] = _spaced
    environment.globals.update(version=__version__, number=number, dash=DASH)
    return environment


def _units(text: str) -> str:
    """A number stays on the line of its unit, and `p = 0.04` on one line."""
    text = re.sub(r"(\d) (%|seeds?\b|points\b)", "\\1\u00a0\\2", text)
    return re.sub(r"\bp ([=<>]) (\d)", "p\u00a0\\1\u00a0\\2", text)


def _spaced(name: str) -> str:
    """`table2` -> `Table 2`, `similarity` -> `Similarity`."""
    head = name.rstrip("0123456789")
    return f"{head.capitalize()} {name[len(head) :]}".strip()
