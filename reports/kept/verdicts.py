"""What the conclusions of the kept studies became under the second rules: `python reports/kept/verdicts.py`.

Prints `verdicts.md`. The first verdicts are those of commit 611fb56 (tests/reporting/kept_verdicts.json there).
"""

from again import KEPT, kept_inputs

from calibrant.reporting.inference.conclusions import Judgement, judge_study
from calibrant.reporting.inference.words import decimals, interval
from calibrant.reporting.results.numbers import number

FIRST = {  # of each study: tested conclusions, and those that were decided
    "five-seeds": (12, {"some_sources_below_magnitude": "does not hold", "generated_beats_real": "holds"}),
    "realdata": (9, {"some_sources_below_magnitude": "does not hold"}),
    "smollm2-135m": (5, {}),
    "methods": (0, {}),
}
ABSENT = ("heavy_filtering_falls_back", "wikipedia_beats_c4", "matches_training_data")
WHY = {
    "spread_grows_with_structure": "The gap is that of the contrast chosen beforehand (other sources minus Wikipedia), "
    "over all sets; it was best minus worst, chosen on two of five seeds and measured on the other three.",
    "data_outweighs_method": "The two ranges are compared over all five sets, as means over methods and over texts; "
    "the gap was chosen on two seeds and measured on three, for each method.",
    "quality_does_not_rank": "One question, the mean of the methods; it was asked of each method, so that the weakest "
    "decided.",
    "unfiltered_beats_real": "Sources are fixed, and their sets the replicates; it was a t test over four sources.",
    "heavy_filtering_falls_back": "A new conclusion (section 6.3): alike within what two sets of one text differ by.",
    "wikipedia_beats_c4": "A new conclusion (section 5.2).",
    "matches_training_data": "A new conclusion (section 6.1).",
}
HEAD = (
    "| conclusion | was | is | estimate | 95 % interval | p (Holm) | what changed it |\n|---|---|---|---|---|---|---|"
)


def row(judgement: Judgement, was: str) -> str:
    """One conclusion."""
    shown = judgement.answer.shown
    assert shown is not None
    assert judgement.p_holm is not None
    told = number(shown.estimate.mean, decimals(shown.unit), signed=True)
    between = interval(shown.estimate, shown.unit).removeprefix("95 % interval ")
    cells = (
        judgement.claim.statement,
        was,
        judgement.verdict,
        f"{told} {shown.unit}",
        between,
        f"{judgement.p_holm:.2g}",
        WHY[judgement.claim.name],
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the page."""
    print(
        "Verdicts of the kept studies that the second rules changed ([docs/claims.md](../../docs/claims.md)), against "
        "those of commit 611fb56.\nMade by `PYTHONPATH=src python reports/kept/verdicts.py`. Differences are in per "
        "cent of the perplexity.\n`tests/reporting/test_kept_studies.py` judges these studies anew."
    )
    for name, (tested, first) in FIRST.items():
        inputs = kept_inputs(KEPT / name)
        judged = judge_study(inputs.data, inputs.scores, inputs.similarity)
        assert judged is not None
        rows = []
        for j in judged.claims:
            was = "not asked" if j.claim.name in ABSENT else first.get(j.claim.name, "undecided")
            if j.answer.p is not None and was != j.verdict:
                rows.append(row(j, was))
        now = f"{judged.tested} tests in the family, {judged.tested - len(judged.own)} of them conclusions of the paper"
        print(f"\n## {name}\n\n{now}; {tested} before.", end="")
        print(f"\n\n{HEAD}\n" + "\n".join(rows) if rows else " No verdict changed.")


if __name__ == "__main__":
    main()
