"""How many tokens a set is judged by: more make each set's loss surer, and leave time for fewer sets.

The loss of a set on T tokens is its candidate's true loss plus three errors: of the set (variance `sets`), of how the
documents suit the candidate (`documents` / T, common to its sets), and of how they suit the set (`interaction` / T).
With a budget b for each candidate, a mask that costs M and a token that costs t, there are n = b / (M + t T) sets and

    variance of a candidate's mean = (sets + interaction / T) / n + documents / T,

which is least at T = sqrt((interaction M + documents b) / (sets t)): with a larger budget, sets are judged longer.
"""

import math
from dataclasses import dataclass

from calibrant.race.losses import Losses


@dataclass(frozen=True)
class Components:
    """Variances on the scale of losses; those of one token are divided by the number of tokens.

    Attributes:
        sets: between sets of one candidate, were they judged on endless text.
        documents: of one token, of how documents suit a candidate.
        interaction: of one token, of how they suit a set.
    """

    sets: float
    documents: float
    interaction: float

    def mean_variance(self, sets: float, tokens: float) -> float:
        """Of a candidate's mean over so many sets, each judged on so many tokens."""
        return (self.sets + self.interaction / tokens) / sets + self.documents / tokens


def components(losses: Losses) -> Components:
    """The three variances, from candidates with two sets or more, by moments; none is below zero.

    Raises:
        ValueError: fewer than two candidates have two sets.
    """
    names = [name for name, scores in losses.scores.items() if len(scores) > 1]
    if len(names) < 2:
        raise ValueError("variances need two candidates with two sets or more")
    tokens = sum(float(sizes.sum()) for sizes in losses.sizes)
    df = sum(len(losses.scores[name]) - 1 for name in names)
    between = sum(float(((losses.scores[name] - losses.scores[name].mean()) ** 2).sum()) for name in names) / df
    own = sum(float(((losses.pulls[name] - losses.pulls[name].mean(axis=0)) ** 2).sum()) for name in names) / df
    evidence = losses.evidence(names)
    pairs = evidence.document_variances()
    count = len(names)
    apart = float(pairs.sum()) / (2 * count * (count - 1))
    noise = own * float((1 / evidence.sets).mean())
    return Components(max(0.0, between - own), max(0.0, apart - noise) * tokens, own * tokens)


def judging_tokens(found: Components, mask: float, token: float, budget: float) -> int:
    """Tokens that make a candidate's mean surest.

    Args:
        found: the variances.
        mask: what a mask costs, in any unit.
        token: what one token of judging costs, in that unit.
        budget: of one candidate, in that unit.

    Raises:
        ValueError: a cost or the budget is not above zero.
    """
    if not (mask > 0 and token > 0 and budget > 0):
        raise ValueError(f"costs and budget must be above 0, are {mask}, {token} and {budget}")
    most = max(1.0, (budget / 2 - mask) / token)  # two sets are the least
    if found.sets <= 0:
        return max(1, math.floor(most))
    best = math.sqrt((found.interaction * mask + found.documents * budget) / (found.sets * token))
    return max(1, math.floor(min(best, most)))
