"""The look of figures, and how they are written: the same bytes for the same data."""

import contextlib
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from calibrant.artefacts.atomic import atomic_path

# Okabe and Ito's colours (2008), which stay apart in every common form of colour blindness. Yellow is left
# out: it vanishes on white paper.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A4B94", "#4D4D4D")
INK, MUTED, RULE, PAPER = "#1d1f21", "#5f6670", "#d5d9de", "#fdfefe"
WIDTH = 1.6  # of a line
STEPS = [1, 2, 2.5, 5, 10]  # round distances between ticks

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 9,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 9,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "legend.frameon": False,
    "lines.linewidth": WIDTH,
    "svg.fonttype": "none",  # text stays text: searchable, and in the reader's fonts
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "path.simplify": False,
    "text.parse_math": False,  # users' labels are text: `$5 to $10` is no formula
}


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each source, by its place in the report, so that it is the same in every figure."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


@contextlib.contextmanager
def context(**more: Any) -> Iterator[None]:
    """The style, and `more` settings; matplotlib's global ones come back afterwards.

    Characters that the font has not are boxes in a PNG, of which nothing is said; an SVG takes the reader's fonts.
    """
    with mpl.rc_context({**STYLE, **more}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def save(figure: Figure, path: Path) -> None:
    """Write `path` (.svg or .png, by its suffix) atomically, without dates, versions or random ids."""
    with atomic_path(path) as temporary:
        _draw(figure, temporary, path.suffix, path.stem)


def element(figure: Figure, name: str, title: str, description: str) -> str:
    """A figure as an element of a page (`inline`), without a file."""
    drawn = BytesIO()
    _draw(figure, drawn, ".svg", name)
    return inline(drawn.getvalue().decode("utf-8"), name, title, description)


def _draw(figure: Figure, to: Path | BytesIO, suffix: str, name: str) -> None:
    metadata = {"Date": None, "Creator": None} if suffix == ".svg" else {"Software": None}
    with context(**{"svg.hashsalt": name}):
        figure.savefig(
            to,
            format=suffix[1:],
            metadata=metadata,
            facecolor="none" if suffix == ".svg" else "white",
            bbox_inches="tight",
            pad_inches=0.06,
        )


def inline(svg: str, name: str, title: str, description: str) -> str:
    """An SVG file's text as an element of a page: unique ids, the page's fonts and colours, a description.

    The greys become CSS variables, so that axes and labels follow a dark page; data colours stay.
    """
    from markupsafe import escape

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r"font: ([0-9.]+px) [^;\"]+", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]+", "font-family: inherit", svg)
    for grey, variable in ((INK, "--ink"), (MUTED, "--muted"), (RULE, "--rule"), (PAPER, "--paper")):
        svg = svg.replace(grey, f"var({variable})")
    opening = f'<svg role="img" aria-labelledby="{name}-title {name}-desc" style="--width: {_width(svg)}"'
    svg = re.sub(r"<svg\b", opening, svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    label = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    return re.sub(r"(<svg[^>]*>)", lambda m: m.group(1) + label, svg, count=1)


def _width(svg: str) -> str:
    match = re.search(r'<svg[^>]* width="([0-9.]+)pt"', svg)
    return f"{float(match[1]) * 1.5:.0f}px" if match else "100%"


def log_ticks(axes: Axes, low: float, high: float) -> None:
    """Few round labels on a log axis that spans anything from a tenth of a decade to several decades."""
    decades = math.log10(high / low)
    if decades > 1.5:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    elif decades > 0.7:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value, digits(low, high))))


def plain(value: float, digits: int = 3) -> str:
    """Three significant digits below 1000, or more that were asked for, grouped thousands above, a true minus sign."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
    return text.replace("-", "−")


def digits(low: float, high: float) -> int:
    """How many significant digits tell the values of an axis apart: three, and more where it is narrow."""
    narrow = high / max(high - low, 1e-9 * high)
    return max(3, math.ceil(math.log10(narrow)) + (1 if narrow <= 100 else 2))


def linear_ticks(axes: Axes) -> None:
    """About five round ticks on the x axis."""
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))


def empty(message: str) -> Figure:
    """A figure that says why there is none: a workflow declares its outputs beforehand."""
    with context():
        figure = Figure(figsize=(4.5, 0.6))
        figure.text(0.5, 0.5, message, ha="center", va="center", color=MUTED)
    return figure
