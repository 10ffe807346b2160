"""The page of one table or figure of the paper."""

from calibrant.errors import InputError
from calibrant.reporting.pages.common_sections import closing, drawn
from calibrant.reporting.pages.inputs import Inputs
from calibrant.reporting.pages.layouts import LAYOUTS, Layout, named_layout
from calibrant.reporting.pages.report import Report
from calibrant.reporting.pages.sections import Block, Page, Paragraph, Section, tables
from calibrant.reporting.results.index import Index

NOTHING = "The study has nothing for this table or figure."


def chosen_layout(index: Index) -> Layout:
    """The layout that an index names.

    Raises:
        InputError: there is none of that name, or it does not take one of the parameters.
    """
    choice = index.layout
    if choice is None:
        raise InputError(f"layout: the index has none; there are {', '.join(LAYOUTS)}")
    return named_layout(choice.name, choice.parameters)


def target_report(inputs: Inputs) -> Report:
    """What the index's layout makes, with its page.

    Raises:
        InputError: the layout is unknown or does not take a parameter.
    """
    products = chosen_layout(inputs.index).build(inputs)
    study = inputs.study
    note: list[Block] = [Paragraph(f"{study.model_id}: {study.model_note}.")] if study.model_note else []
    found = [table for each in products.tables.values() for table in each]
    shown = [*drawn([d for d in products.figures if d.figure]), *tables(found)] or [Paragraph(NOTHING)]
    page = Page(
        study,
        study.title or str(inputs.index.layout and inputs.index.layout.name),
        [],
        facts(inputs),
        [Section("results", "Results", "", [*note, *shown]), *closing(inputs)],
        inputs.evaluations,
    )
    return Report(products.tables, products.figures, page)


def facts(inputs: Inputs) -> list[tuple[str, str]]:
    """The strip below the headline."""
    study = inputs.study
    seeds = inputs.frame["seed"].drop_nulls().n_unique()
    found = [
        ("Model", study.model_id),
        ("Sources", ", ".join(label for _, label in study.sources)),
        ("Seeds", str(seeds) if seeds else ""),
        ("Variant", dict(study.settings).get("Variant", "")),
        ("Evaluations", str(inputs.evaluations) if inputs.evaluations else ""),
    ]
    return [(name, value) for name, value in found if value]
