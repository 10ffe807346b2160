"""Claims of sections 6.2 and 6.3: how long the prefix should be, and how much to filter."""

from collections.abc import Sequence

from calibrant.reporting.inference.answers import Answer, alike, every, without
from calibrant.reporting.inference.contrasts import Contrast, Models, mean_of, repeatability
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.results.cells import Setting, Text, target_label

SHORT = (1, 4)  # tokens of the best prefixes
MODEST = (0.1, 0.2)  # best share of samples to drop
PREFERRED = "0.6"

Line = dict[float, Text]  # generated text of one source, by the value of a setting


def any_prefix_beats_real(scope: Scope) -> Answer:
    """Section 6.2: with a prefix of any length, generated text scores above the real text.

    Only sources that have every length enter, so that the lengths are compared on the same sources.
    """
    models, sparsity, lines = lines_of(scope, "prefix_length")
    real = scope.texts(models, "real")
    shared = [source for source in lines if source in real]
    lengths = sorted({p for line in lines.values() for p in line if p >= SHORT[0]})
    if not shared or len(lengths) < 2:
        return without("no runs that differ in the prefix length only, beside real text")
    return every(
        [against_real(scope, models, lines, length, f"prefix of {length:.0f}", sparsity) for length in lengths]
    )


def against_real(
    scope: Scope, models: Models, lines: dict[str, Line], value: float, words: str, target: str
) -> Contrast | None:
    """Generated text at a value of a setting minus real text, over the sources that have both."""
    real = scope.texts(models, "real")
    both = [source for source, line in lines.items() if source in real and value in line]
    if not both:
        return None
    weights = {**mean_of([lines[s][value] for s in both]), **mean_of([real[s] for s in both], -1.0)}
    return scope.contrast(models, weights, f"{words} minus real, {target_label(target)}")


def short_prefixes_beat_long(scope: Scope) -> Answer:
    """Section 6.2, Figure 4: prefixes of 1 to 4 tokens score above longer ones, over the sources that have all."""
    models, sparsity, lines = lines_of(scope, "prefix_length")
    short, long = split(lines, SHORT)
    if not short or not long:
        return without("no runs with prefixes of 1 to 4 tokens and longer")
    return every([first_minus_second(scope, models, lines, short, long, f"short minus long, {target_label(sparsity)}")])


def unfiltered_beats_real(scope: Scope) -> Answer:
    """Section 6.3, Table 4: generated text of which nothing is dropped scores above real text."""
    models, sparsity, lines = lines_of(scope, "drop", single=0.0)
    found = against_real(scope, models, lines, 0.0, "nothing dropped", sparsity) if lines else None
    return every([found], missing="no generated text without filtering beside real text")


def modest_filtering_helps(scope: Scope) -> Answer:
    """Section 6.3, Table 4: dropping 10 to 20 % scores above dropping nothing."""
    models, sparsity, lines = lines_of(scope, "drop")
    modest, _ = split(lines, MODEST)
    if not modest or not all(0 in line for line in lines.values()):
        return without("no runs with 10 to 20 % dropped and nothing")
    label = f"10 to 20 % minus nothing dropped, {target_label(sparsity)}"
    return every([first_minus_second(scope, models, lines, modest, [0.0], label)])


def more_filtering_hurts(scope: Scope) -> Answer:
    """Section 6.3, Table 4: dropping 10 to 20 % scores above dropping more."""
    models, sparsity, lines = lines_of(scope, "drop")
    modest, more = split(lines, MODEST)
    if not modest or not more:
        return without("no runs with 10 to 20 % dropped and more")
    label = f"10 to 20 % minus more dropped, {target_label(sparsity)}"
    return every([first_minus_second(scope, models, lines, modest, more, label)])


def heavy_filtering_falls_back(scope: Scope) -> Answer:
    """Section 6.3, Table 4: the highest filter rate does as dropping nothing: alike within what two sets differ by."""
    models, sparsity, lines = lines_of(scope, "drop")
    _, more = split(lines, MODEST)
    if not more or not all(0 in line for line in lines.values()):
        return without("no runs with more than 20 % dropped and nothing")
    heavy = max(more)
    margin = repeatability(scope.data, scope.outcome, models, [line[0.0] for line in lines.values()])
    label = f"{100 * heavy:.4g} % minus nothing dropped, {target_label(sparsity)}"
    return alike([first_minus_second(scope, models, lines, [heavy], [0.0], label)], margin)


def split(lines: dict[str, Line], best: tuple[float, float]) -> tuple[list[float], list[float]]:
    """The values within the best range, and those above it."""
    values = sorted({value for line in lines.values() for value in line})
    return [v for v in values if best[0] <= v <= best[1]], [v for v in values if v > best[1]]


def first_minus_second(
    scope: Scope, models: Models, lines: dict[str, Line], first: Sequence[float], second: Sequence[float], label: str
) -> Contrast | None:
    """The mean over the first values of a setting minus that over the second, over all sources."""
    one = [line[v] for line in lines.values() for v in first]
    other = [line[v] for line in lines.values() for v in second]
    return scope.contrast(models, {**mean_of(one), **mean_of(other, -1.0)}, label)


def lines_of(scope: Scope, varied: Setting, single: float | None = None) -> tuple[Models, str, dict[str, Line]]:
    """The mean of methods, the sparsity and the sources where most values of a setting were run; nothing without two.

    Of equally many values 60 %, then the harshest sparsity. Only sources that have every value enter.

    Args:
        scope: the study.
        varied: the setting.
        single: do with this one value, where it was run.
    """
    values = [v for v in scope.data.values_of(varied) if single is None or v == single]
    found = []
    for place, sparsity in enumerate(scope.sparsities):
        run = {
            m: sum(bool(scope.texts({(m, sparsity): 1.0}, "synthetic", **{varied: v})) for v in values)
            for m in scope.methods_at(sparsity)
        }
        methods = [m for m, count in run.items() if count > (single is None)]
        models = {(m, sparsity): 1 / len(methods) for m in methods}
        by_value = {v: texts for v in values if (texts := scope.texts(models, "synthetic", **{varied: v}))}
        complete = [s for s in scope.data.sources if by_value and all(s in texts for texts in by_value.values())]
        if complete and len(by_value) > (single is None):
            lines = {s: {v: texts[s] for v, texts in by_value.items()} for s in complete}
            found.append((len(by_value), sparsity == PREFERRED, place, (models, sparsity, lines)))
    return max(found, key=lambda entry: entry[:3])[3] if found else ({}, "", {})
