"""The page and the Markdown summary of a `Page`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from calibrant.reporting.figures.figure_files import Plot
from calibrant.reporting.pages.sections import Block, FigurePlace, Folded, Page, Section
from calibrant.reporting.results.numbers import DASH, number
from calibrant.reporting.tables.table_files import to_markdown
from calibrant.version import __version__

TEMPLATES = Path(__file__).with_name("templates")


def html(page: Page, plots: Mapping[str, Plot], colours: Mapping[str, str]) -> str:
    """The self-contained page: styles and figures inline, no script, nothing fetched.

    All text but a figure's SVG is escaped.
    """
    jinja = environment(autoescape=True)
    css = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8").strip())
    template = jinja.get_template("page.html.j2")
    return template.render(page=page, sections=shown_sections(page, plots), plots=plots, css=css, colours=colours)


def markdown(page: Page, plots: Mapping[str, Plot]) -> str:
    """The summary as plain Markdown."""
    jinja = environment(autoescape=False)
    jinja.globals["markdown"] = to_markdown
    template = jinja.get_template("summary.md.j2")
    return template.render(page=page, sections=shown_sections(page, plots), plots=plots).rstrip() + "\n"


def shown_sections(page: Page, plots: Mapping[str, Plot]) -> list[Section]:
    """The sections that have something to show: a figure without a drawing is nothing."""
    found = []
    for section in page.sections:
        blocks = [b for b in section.blocks if not isinstance(b, FigurePlace) or b.name in plots]
        if blocks:
            found.append(Section(section.anchor, section.name, section.heading, blocks))
    return found


def every_block(sections: Sequence[Section]) -> Iterator[Block]:
    """All blocks, folded ones too."""

    def walk(blocks: Sequence[Block]) -> Iterator[Block]:
        for block in blocks:
            yield block
            if isinstance(block, Folded):
                yield from walk(block.blocks)

    for section in sections:
        yield from walk(section.blocks)


def environment(*, autoescape: bool) -> jinja2.Environment:
    """What templates are rendered with; unknown names are errors."""
    jinja = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters["units"] = _units
    jinja.filters["element"] = Markup  # an SVG element of ours, which is not escaped
    jinja.globals.update(version=__version__, number=number, dash=DASH)
    return jinja


def _units(text: str) -> str:
    """A number stays on the line of its unit, and `p = 0.04` on one line."""
    text = re.sub(r"(\d) (%|seeds?\b|points\b)", "\\1\u00a0\\2", text)
    return re.sub(r"\bp ([=<>]) (\d)", "p\u00a0\\1\u00a0\\2", text)
