"""Claims of sections 3.2, 3.4 and 1: how much the choice of real text matters, where, and what makes a source good."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from calibrant.reporting.inference import statistics
from calibrant.reporting.inference.answers import Answer, alike, every, some, without
from calibrant.reporting.inference.contrasts import Contrast, Models, mean_of, repeatability
from calibrant.reporting.inference.gaps import gap_contrast, texts_against_methods
from calibrant.reporting.inference.scope import HIGH_QUALITY, Scope
from calibrant.reporting.results.cells import Cell, Text, is_ratio, method_label, run_label, target_label, target_of_run
from calibrant.reporting.results.numbers import listed

FEW = "too few seeds: best and worst are chosen on one half and measured on the other"


def small_below_half(scope: Scope) -> Answer:
    """Section 3.2: below 50 % sparsity real sources differ by less than the draw of the set: each pair."""
    mild = [s for s in scope.sparsities if is_ratio(s) and target_of_run(s).sparsity < 0.5]
    answers = [pairs_alike(scope, sparsity, "real") for sparsity in mild]
    return together(answers)


def pairs_alike(scope: Scope, target: str, origin: str) -> Answer:
    """Whether the texts of all sources are alike at a target: each pair of them, which all must be."""
    models = scope.models(target, origin)
    texts = scope.texts(models, origin)
    label = scope.data.source_label
    contrasts = [
        scope.contrast(models, {texts[b]: 1.0, texts[a]: -1.0}, f"{label(b)} minus {label(a)}, {target_label(target)}")
        for a, b in combinations(texts, 2)
    ]
    return alike(contrasts, repeatability(scope.data, scope.outcome, models, list(texts.values())))


def together(answers: Sequence[Answer]) -> Answer:
    """All of several answers: the weakest decides; one that fails is enough to fail, after Bonferroni's correction."""
    known = [a for a in answers if a.p_holds is not None and a.p_fails is not None]
    if not known:
        return answers[0] if answers else without("no such runs in this study")
    p_holds = max(a.p_holds or 0.0 for a in known)
    p_fails = min(1.0, len(known) * min(1.0 if a.p_fails is None else a.p_fails for a in known))
    weakest = (
        max(known, key=lambda a: a.p_holds or 0.0) if p_holds <= p_fails else min(known, key=lambda a: a.p_fails or 0)
    )
    contrasts = tuple(c for a in known for c in a.contrasts)
    return replace(weakest, contrasts=contrasts, p_holds=p_holds, p_fails=p_fails)


def grows_with_sparsity(scope: Scope) -> Answer:
    """Section 3.2, Figure 2a: sources differ more at the harshest ratio than at the mildest."""
    return _growth(scope, [s for s in scope.sparsities if is_ratio(s)])


def grows_with_structure(scope: Scope) -> Answer:
    """Section 3.2, Figure 2b: sources differ more in the strictest pattern than in the freest, at 50 %."""
    return _growth(scope, [s for s in scope.sparsities if target_of_run(s).sparsity == 0.5])


def _growth(scope: Scope, sparsities: Sequence[str]) -> Answer:
    run = [s for s in sparsities if len(scope.texts(scope.models(s), "real")) > 1]
    if len(run) < 2:
        return without("fewer than two such sparsities with two real sources")
    methods = scope.methods_at(run[0], run[-1])
    if not methods:
        return without("no method at both sparsities")
    models = {(m, s): w / len(methods) for m in methods for s, w in ((run[-1], 1.0), (run[0], -1.0))}
    texts = scope.texts(models, "real")
    where = f"{target_label(run[-1])} against {target_label(run[0])}"
    if (chosen := beforehand(scope, texts)) is not None:
        words, weights = chosen
        both = {model: abs(weight) for model, weight in models.items()}
        return _grown(
            scope.contrast(models, weights, f"{words}, {where}"), scope.contrast(both, weights, f"{words}, both")
        )
    ends = [scope.models(s) for s in (run[-1], run[0])]
    found = gap_contrast(scope, [(ends[0], texts, 1.0), (ends[1], texts, -1.0)], f"gap between sources, {where}")
    return every([found]) if found else without(FEW)


def _grown(change: Contrast | None, total: Contrast | None) -> Answer:
    """Whether a gap with a sign that was chosen beforehand grew: it is larger, and the two together are above zero.

    It does not hold where the gap is there and shrinks: the change is below zero, and the two together are above it. A
    gap of the other sign leaves it open, since sources then differ more, too.
    """
    answer = every([change])
    if answer.p is None or total is None:
        return answer
    there = min(1.0, statistics.p_above(total.estimate) or 0.0)
    return replace(
        answer,
        p_holds=max(answer.p_holds or 0.0, there),
        p_fails=max(answer.p_fails or 0.0, there),
        rule="the gap is there, with the sign chosen beforehand, and larger in the harder setting",
    )


def beforehand(scope: Scope, texts: dict[str, Text]) -> tuple[str, dict[Text, float]] | None:
    """The contrast of sources that the paper chooses beforehand: the others minus text of high quality (Wikipedia).

    None without such a source or others. The others are the better ones in the paper, so that a gap is positive.
    """
    fine = [text for source, text in texts.items() if source in HIGH_QUALITY]
    rest = [text for source, text in texts.items() if source not in HIGH_QUALITY]
    if not fine or not rest:
        return None
    named = listed([scope.data.source_label(text.source) for text in fine])
    return f"other sources minus {named}", {**mean_of(rest), **mean_of(fine, -1.0)}


def below_magnitude(scope: Scope) -> Answer:
    """Section 3.2: at 60 %, some source gives a worse model than magnitude pruning, which uses no data."""
    sparsity = scope.sparsity("0.6")
    level = scope.data.scores(Cell("magnitude", sparsity or ""), scope.outcome)
    if sparsity is None or len(level) != 1:
        return without("no magnitude pruning at that sparsity")
    offset = next(iter(level.values()))
    contrasts = []
    for method in scope.methods_at(sparsity):
        for source, text in scope.texts({(method, sparsity): 1.0}, "real").items():
            label = f"magnitude minus {scope.data.source_label(source)}, {run_label(method, sparsity)}"
            contrasts.append(scope.contrast({(method, sparsity): 1.0}, {text: -1.0}, label, offset=offset))
    return some(contrasts)


def data_outweighs_method(scope: Scope) -> Answer:
    """Section 1, Figure 1: the best and the worst real text differ by more than the best and the worst method."""
    sparsity = scope.sparsity("0.6")
    found = None if sparsity is None else data_against_method(scope, sparsity)
    return found or without("fewer than two methods, or fewer than two texts that every method was calibrated on")


def data_against_method(scope: Scope, target: str) -> Answer | None:
    """At one target: the range of texts (mean of methods) minus the range of methods (mean of texts)."""
    methods = scope.methods_at(target)
    texts = scope.texts(scope.models(target), "real")
    if len(methods) < 2 or len(texts) < 2:
        return None
    label = f"texts against methods, {target_label(target)}"
    found = texts_against_methods(scope, methods, target, texts, label)
    return every([found]) if found else without("too few seeds: one set of a text gives no interval")


def similarity_ranks(scope: Scope) -> Answer:
    """Section 3.4: the more like the training data, the better: the linear trend over ranks, at 2:4 as in Table 1.

    Needs the similarity of at least two sources to the training data, or of one beside the training data, which is the
    most similar.
    """
    sparsity = scope.sparsity("2:4")
    known = {**scope.similarity, **dict.fromkeys(scope.training, float("inf"))}
    models: Models = scope.models(sparsity) if sparsity else {}
    texts = {s: text for s, text in scope.texts(models, "real").items() if s in known}
    if sparsity is None or len({known[s] for s in texts}) < 2:
        return without("no similarities of the sources to the model's training data")
    ranks = {text: float(sum(known[o] < known[s] for o in texts)) for s, text in texts.items()}
    centre = sum(ranks.values()) / len(ranks)
    squares = sum((rank - centre) ** 2 for rank in ranks.values())
    weights = {text: (rank - centre) / squares for text, rank in ranks.items()}
    return every([scope.contrast(models, weights, f"each rank of similarity, {target_label(sparsity)}")])


def quality_does_not_rank(scope: Scope) -> Answer:
    """Section 3.4: text of high quality (Wikipedia) scores below the mean of the other sources, at 2:4."""
    sparsity = scope.sparsity("2:4")
    models: Models = scope.models(sparsity) if sparsity else {}
    chosen = beforehand(scope, scope.texts(models, "real"))
    if sparsity is None or chosen is None:
        return without(f"no source that is taken for text of high quality ({', '.join(HIGH_QUALITY)}) and another")
    return every([scope.contrast(models, chosen[1], f"{chosen[0]}, {target_label(sparsity)}")])


def against_baseline(scope: Scope, target: str, method: str, baseline: str) -> Contrast | None:
    """A method minus another on the same sets, real and generated; each source is one observation."""
    models = {(method, target): 1.0, (baseline, target): -1.0}
    texts = [text for origin in scope.data.origins for text in scope.texts(models, origin).values()]
    label = f"{method_label(method)} minus {method_label(baseline)}, {target_label(target)}"
    return scope.contrast(models, mean_of(texts), label, cluster=True) if texts else None
