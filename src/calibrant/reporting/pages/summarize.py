"""From an index to its report: of a study, of a table or figure of the paper, or of all of them."""

from pathlib import Path

from calibrant.errors import InputError
from calibrant.reporting.pages.inputs import gathered
from calibrant.reporting.pages.paper_page import paper_report
from calibrant.reporting.pages.report import write_report
from calibrant.reporting.pages.sections import Page
from calibrant.reporting.pages.study_page import study_report
from calibrant.reporting.pages.target_page import chosen_layout, target_report
from calibrant.reporting.results.index import Index, read_index


def summarize(index: Index, output: Path, *, real_text: bool = True, rows: int = 3) -> Page:
    """Write the report that an index asks for below `output`, and return its page (`report.write_report`).

    Args:
        index: with `targets`, the page of all of them; with a `layout`, that table or figure; else the general report.
        output: the folder; files of the same names are replaced.
        real_text: whether the page's browser shows rows of real text.
        rows: rows that the browser shows of each text.

    Raises:
        InputError: a file that an index names is missing or malformed; a layout is unknown or does not take a
            parameter; a target has runs that the index lacks; or the output is a file.
    """
    if rows < 0:
        raise InputError(f"rows of text to show: {rows}; must be 0 or more")
    if index.targets:
        parts = {target: read_index(target.index) for target in index.targets}
        index = gathered(index, [(target.index, part) for target, part in parts.items()])
        return write_report(index, output, lambda i: paper_report(i, parts, real_text=real_text, rows=rows))
    if index.layout is not None:
        chosen_layout(index)  # a wrong name is told before anything is read
        return write_report(index, output, target_report)
    return write_report(index, output, lambda i: study_report(i, real_text=real_text, rows=rows))
