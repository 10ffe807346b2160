"""The page of an answer, and its summary: HTML and Markdown made from the facts of a race."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from calibrant.reporting.figures import style
from calibrant.reporting.figures.figure_files import Plot
from calibrant.reporting.figures.race_figure import race_drawing
from calibrant.reporting.pages.answer_sections import below
from calibrant.reporting.pages.answer_snippets import snippets
from calibrant.reporting.pages.answer_words import screen
from calibrant.reporting.pages.render import TEMPLATES, environment


def answer_page(facts: Mapping[str, Any]) -> str:
    """The self-contained page: styles and picture inline, no script, nothing fetched; the same facts, the same bytes.

    Args:
        facts: of a race, ended or running (docs/reporting.md).
    """
    css = "\n".join((TEMPLATES / name).read_text(encoding="utf-8").strip() for name in ("style.css", "answer.css"))
    jinja = environment(autoescape=True)
    return jinja.get_template("answer.html.j2").render(
        study=facts["study"],
        screen=screen(facts),
        picture=_picture(facts),
        snippets=snippets(facts) if facts["chosen"] else [],
        sections=[section for section in below(facts) if section.blocks],
        texts=facts["texts"],
        comparison=facts.get("comparison"),
        css=Markup(css),
    )


def answer_summary(facts: Mapping[str, Any]) -> str:
    """The first screen as plain Markdown, for the terminal and `summary.md`."""
    jinja = environment(autoescape=False)
    rendered = jinja.get_template("answer.md.j2").render(study=facts["study"], screen=screen(facts))
    return rendered.rstrip() + "\n"


def _picture(facts: Mapping[str, Any]) -> Plot | None:
    drawn = race_drawing(facts)
    if drawn.figure is None:
        return None
    svg = style.element(drawn.figure, drawn.name, drawn.title, drawn.description)
    return Plot(svg, drawn.title, drawn.caption, drawn.description)
