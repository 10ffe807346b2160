"""Claims of section 3.3: more calibration data neither helps nor closes gaps; it only steadies the result."""

import math
from dataclasses import replace

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.answers import Answer, alike, every, without
from calibrant.reporting.inference.contrasts import Contrast, Model, Question, repeatability, set_values
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.inference.source_claims import beforehand
from calibrant.reporting.results.cells import Text, target_label

PLATEAU = 128  # samples
LOG_RATIO = "log ratio"  # unit of a trend of deviations


def does_not_matter(scope: Scope) -> Answer:
    """Section 3.3: beyond 128 samples the score stays, by less than the draw of the set moves it.

    One test of the trend: the change from 128 to the most samples along a line over the logarithm of their number.
    """
    models, sparsity, lines = _lines(scope, PLATEAU)
    if not lines:
        return without(f"no runs with {PLATEAU} samples and with more")
    margin = repeatability(scope.data, scope.outcome, models, [line[PLATEAU] for line in lines.values()])
    return alike([trend(scope, models, lines, sparsity)], margin)


def trend(scope: Scope, models: dict[Model, float], lines: dict[str, dict[int, Text]], target: str) -> Contrast | None:
    """The change of the mean over sources along a line over ln(samples), from the fewest to the most."""
    weights: dict[Text, float] = {}
    amounts = sorted({n for line in lines.values() for n in line})
    for line in lines.values():
        centre = sum(map(math.log, line)) / len(line)
        squares = sum((math.log(n) - centre) ** 2 for n in line)
        step = math.log(max(line) / min(line))
        weights |= {text: step * (math.log(n) - centre) / squares / len(lines) for n, text in line.items()}
    weights = {text: weight for text, weight in weights.items() if abs(weight) > 1e-12}
    return scope.contrast(models, weights, f"{amounts[-1]} against {amounts[0]} samples, {target_label(target)}")


def does_not_close_gaps(scope: Scope) -> Answer:
    """Section 3.3: with most samples the gap between sources is not smaller than with 128, but for a margin.

    Asked only where there is a gap at 128, whose p-value is part of the verdict's. The gap is that of the contrast
    chosen beforehand (`beforehand`).
    """
    models, sparsity, lines = _lines(scope, PLATEAU)
    first = {source: line[PLATEAU] for source, line in lines.items()}
    last = {source: line[max(line)] for source, line in lines.items()}
    starts, ends = beforehand(scope, first), beforehand(scope, last)
    if starts is None or ends is None:
        return without(f"no source of high quality and another with {PLATEAU} samples and with more")
    start = scope.contrast(models, starts[1], f"{starts[0]}, {PLATEAU} samples")
    if start is None or start.estimate.low is None or start.estimate.low <= 0:
        return without(f"no gap between sources is established with {PLATEAU} samples that could be closed")
    margin = repeatability(scope.data, scope.outcome, models, list(first.values()))
    change = {**ends[1], **{text: -weight for text, weight in starts[1].items()}}
    label = f"change of the gap ({starts[0]}), {target_label(sparsity)}"
    answer = every([scope.contrast(models, change, label)], margin)
    if answer.p is None:
        return answer
    there = statistics.p_above(start.estimate) or 0.0
    return replace(answer, p_holds=max(answer.p_holds or 0.0, there), p_fails=max(answer.p_fails or 0.0, there))


def deviation_falls(scope: Scope) -> Answer:
    """Section 3.3: the deviation over seeds falls with more samples: the trend of its logarithm over ln(samples)."""
    models, sparsity, lines = _lines(scope, None)
    if not lines:
        return without("no runs that differ in the number of samples only")
    found = deviation_contrast(scope, models, lines, sparsity)
    return every([found]) if found else without("too few seeds: no deviation between sets at two numbers of samples")


def deviation_contrast(
    scope: Scope, models: dict[Model, float], lines: dict[str, dict[int, Text]], target: str
) -> Contrast | None:
    """Minus the trend of the log deviation, over all doublings from the fewest to the most samples."""
    groups, texts = [], []
    for line in lines.values():
        for n, text in line.items():
            groups.append((math.log(n), list(set_values(scope.data, scope.outcome, models, text).values())))
            texts.append(text)
    found = statistics.deviation_trend(groups)
    if found is None or found.low is None or found.high is None:
        return None
    step = max(x for x, _ in groups) - min(x for x, _ in groups)
    turned = replace(found, mean=-found.mean * step, low=-found.high * step, high=-found.low * step)
    few, many = (round(math.exp(f(x for x, _ in groups))) for f in (min, max))
    label = f"{few} against {many} samples, {target_label(target)}"
    cells = tuple(text.cell(*model) for text in texts for model in models)
    question = Question(scope.outcome.key, ((("deviation", target), 1.0),), tuple((text, 1.0) for text in texts))
    sets = min(len(values) for _, values in groups)
    told = f"trend of log deviations, {len(groups)} texts"
    return Contrast(
        label, turned, LOG_RATIO, told, sets, question, cells, readable=not scope.data.guesses(scope.outcome)
    )


def _lines(scope: Scope, first: int | None) -> tuple[dict[Model, float], str, dict[str, dict[int, Text]]]:
    """Real texts by source and number of samples (from `first` on), where they vary most: 2:4 as in the paper first."""
    best: tuple[dict[Model, float], str, dict[str, dict[int, Text]]] = ({}, "", {})
    amounts = [n for n in scope.data.values_of("samples") if first is None or n >= first]
    if first is not None and first not in amounts:
        return best
    counted = []
    for sparsity in scope.sparsities:
        methods = [
            m for m in scope.methods_at(sparsity) if any(scope.texts({(m, sparsity): 1.0}, "real", samples=n)
                                                         for n in amounts if n != scope.data.main.samples)
        ]  # fmt: skip
        models = {(m, sparsity): 1 / len(methods) for m in methods}
        by_amount = {n: scope.texts(models, "real", samples=n) for n in amounts}
        lines: dict[str, dict[int, Text]] = {}
        for source in scope.data.sources:
            line = {n: texts[source] for n, texts in by_amount.items() if source in texts}
            if len(line) > 1 and (first is None or first in line):
                lines[source] = line
        if lines:
            counted.append((sum(map(len, lines.values())), sparsity == "2:4", (models, sparsity, lines)))
    return max(counted, key=lambda entry: entry[:2])[2] if counted else best
