"""Claims of sections 5.2, 6.1 and 6.4: text that the model wrote against real text."""

from collections.abc import Mapping, Sequence

from calibrant.reporting.inference.answers import Answer, every, without
from calibrant.reporting.inference.contrasts import Contrast, Question, mean_of, over_methods, repeatability
from calibrant.reporting.inference.scope import Scope
from calibrant.reporting.inference.source_claims import pairs_alike
from calibrant.reporting.inference.superiority import COLUMN, Array, score_groups, superiority
from calibrant.reporting.results.cells import Text, run_label, target_label

MIN_K_UNIT = "% of pairs, above 50"
PATTERNS = ("4:8", "2:4")
NONE = "no real and generated text of one source at that sparsity"


def gain(scope: Scope, target: str, *, methods: Sequence[str] = (), **other: float) -> Contrast | None:
    """Generated minus real text, mean of these methods (or those with generated text) and of the sources with both."""
    models = over_methods(methods, target) if methods else scope.models(target, "synthetic")
    real, written = scope.texts(models, "real"), scope.texts(models, "synthetic", **other)
    both = [s for s in written if s in real]
    if not both:
        return None
    weights = {**mean_of([written[s] for s in both]), **mean_of([real[s] for s in both], -1.0)}
    return scope.contrast(models, weights, f"generated minus real, {target_label(target)}")


def gains(scope: Scope, target: str, method: str) -> dict[str, Contrast]:
    """Generated minus real text of each source that has both, for one method."""
    models = {(method, target): 1.0}
    real, written = scope.texts(models, "real"), scope.texts(models, "synthetic")
    found = {}
    for source in written:
        label = f"{scope.data.source_label(source)}, {run_label(method, target)}"
        one = scope.contrast(models, {written[source]: 1.0, real[source]: -1.0}, label) if source in real else None
        if one is not None:
            found[source] = one
    return found


def beats_every_source(scope: Scope) -> Answer:
    """Tables 2 and 5: generated text scores above the real text that it continues, for every source and method."""
    sparsity = scope.sparsity("0.6")
    found = [c for m in scope.methods for c in gains(scope, sparsity, m).values()] if sparsity else []
    return every(found, missing=NONE)


def beats_real_on_average(scope: Scope) -> Answer:
    """Section 5.2: the same on average over these sources."""
    sparsity = scope.sparsity("0.6")
    return every([gain(scope, sparsity) if sparsity else None], missing=NONE)


def beats_training_data(scope: Scope) -> Answer:
    """Section 5.2: generated text scores above real training data, mean of methods and of sources."""
    sparsity = scope.sparsity("0.6")
    if sparsity is None or not scope.training:
        return without("no source of this study is known to be the model's training data")
    found = over_training(scope, sparsity)
    return every([found], missing="no generated text and real training data at that sparsity")


def over_training(scope: Scope, target: str) -> Contrast | None:
    """Generated text of all sources minus real training data, at a target."""
    models = scope.models(target, "synthetic")
    written = scope.texts(models, "synthetic")
    training = [text for s, text in scope.texts(models, "real").items() if s in scope.training]
    if not written or not training:
        return None
    weights = {**mean_of(list(written.values())), **mean_of(training, -1.0)}
    return scope.contrast(models, weights, f"generated minus real training data, {target_label(target)}")


def matches_training_data(scope: Scope) -> Answer:
    """Section 6.1, Table 3: at each sparsity generated text matches or exceeds real training data (non-inferiority)."""
    if not scope.training:
        return without("no source of this study is known to be the model's training data")
    found = [(s, c) for s in scope.sparsities if (c := over_training(scope, s)) is not None]
    if len(found) < 2:
        return without("fewer than two sparsities with generated text and real training data")
    margins = []
    for sparsity, _ in found:
        models = scope.models(sparsity, "synthetic")
        margins.append(repeatability(scope.data, scope.outcome, models, list(scope.texts(models, "real").values())))
    known = [margin for margin in margins if margin]
    return every([c for _, c in found], min(known) if len(known) == len(margins) else None)


def from_wikipedia_beats_c4(scope: Scope) -> Answer:
    """Section 5.2: generated text from Wikipedia scores above real C4, the usual choice."""
    sparsity = scope.sparsity("0.6")
    models = scope.models(sparsity, "synthetic") if sparsity else {}
    written, real = scope.texts(models, "synthetic"), scope.texts(models, "real")
    if sparsity is None or "wikipedia" not in written or "c4" not in real:
        return without("no generated text from Wikipedia and real C4 at that sparsity")
    label = f"generated from Wikipedia minus real C4, {target_label(sparsity)}"
    return every([scope.contrast(models, {written["wikipedia"]: 1.0, real["c4"]: -1.0}, label)])


def better_language_modelling(scope: Scope) -> Answer:
    """Section 5.2, Alpaca in Tables 2 and 5: generated text gives lower perplexity than real text."""
    texts = scope.data.perplexities
    if not texts:
        return without("no text's perplexity was evaluated")
    if scope.outcome.kind == "perplexity":
        return without("the study's outcome is perplexity already: it is the conclusion about the average")
    sparsity = scope.sparsity("0.6")
    own = Scope(scope.data, texts[0])
    return every([gain(own, sparsity) if sparsity else None], missing=NONE)


def alike_whatever_source(scope: Scope) -> Answer:
    """Section 5.2: pruned models are alike whatever text the generated one continues: each pair, mean of methods."""
    sparsity = scope.sparsity("0.6")
    found = pairs_alike(scope, sparsity, "synthetic") if sparsity else None
    return found or without("no two sources with generated text at that sparsity")


def gain_in_patterns(scope: Scope) -> Answer:
    """Section 6.1, Table 3: generated text scores above real text at 4:8 and at 2:4, over these sources.

    The text of the paper does not say over which real text its 0.8 points are; here it is the source's own.
    """
    for pattern in PATTERNS:
        if pattern not in scope.sparsities or gain(scope, pattern) is None:
            return without(f"no real and generated text of one source at {pattern}")
    return every([gain(scope, pattern) for pattern in PATTERNS])


def higher_min_k(scope: Scope) -> Answer:
    """Section 6.4, Figure 5: generated rows have higher Min-K%++ than real rows, for every source.

    The rows are the replicates, each counted once: the share of pairs in which the generated row is higher.
    """
    labels = {source: scope.data.source_label(source) for source in scope.scores["source"].unique(maintain_order=True)}
    groups = score_groups(scope.scores, labels)
    contrasts = [min_k_contrast(groups, source, source, labels) for source in labels if (source, "synthetic") in groups]
    return every(contrasts, missing="no Min-K%++ of real and generated text of one source")


def min_k_contrast(
    groups: Mapping[tuple[str, str], Array], written: str, real: str, labels: Mapping[str, str]
) -> Contrast | None:
    """How often a row that was written from a source is higher than a real row; None without both texts."""
    if (written, "synthetic") not in groups or (real, "real") not in groups:
        return None
    own, other = groups[written, "synthetic"], groups[real, "real"]
    found = superiority(own, other)
    if found is None:
        return None
    label = labels[real] if written == real else f"from {labels[written]} against {labels[real]}"
    texts = ((Text(real, "real"), -1.0), (Text(written, "synthetic"), 1.0))
    told = f"DeLong over {len(own)} and {len(other)} rows"
    return Contrast(label, found, MIN_K_UNIT, told, min(len(own), len(other)), Question(COLUMN, (), texts))
