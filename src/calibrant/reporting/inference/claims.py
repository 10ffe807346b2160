"""The paper's conclusions, one row each: statement, section, what the runs of a study say."""

from collections.abc import Callable
from dataclasses import dataclass

from calibrant.reporting.inference import amount_claims as amount
from calibrant.reporting.inference import generated_claims as generated
from calibrant.reporting.inference import setting_claims as setting
from calibrant.reporting.inference import source_claims as source
from calibrant.reporting.inference.answers import Answer
from calibrant.reporting.inference.scope import Scope


@dataclass(frozen=True)
class Claim:
    """A conclusion that runs can support or contradict.

    Attributes:
        name: key.
        statement: the conclusion in words; numbers only where they are settings.
        section: where the paper draws it; empty for a study's own comparison.
        answer: what the runs of a study say.
        numbers: the published numbers behind it, by their id in `published.numbers`.
        from_scores: whether it is read from the texts' scores and not from pruned models.
    """

    name: str
    statement: str
    section: str
    answer: Callable[[Scope], Answer]
    numbers: tuple[str, ...] = ()
    from_scores: bool = False


CLAIMS: tuple[Claim, ...] = (
    Claim("spread_small_below_half", "Below 50 % sparsity the source hardly matters", "3.2",
          source.small_below_half, ("spread_below_50",)),
    Claim("spread_grows_with_sparsity", "Sources differ more at higher sparsity", "3.2",
          source.grows_with_sparsity, ("spread_50", "spread_60")),
    Claim("spread_grows_with_structure", "Sources differ more in stricter patterns", "3.2",
          source.grows_with_structure, ("spread_50", "spread_structured")),
    Claim("some_sources_below_magnitude", "Some sources do worse than magnitude pruning", "3.2",
          source.below_magnitude),
    Claim("data_outweighs_method", "The choice of data outweighs the choice of method (at 60 %)", "1",
          source.data_outweighs_method),
    Claim("amount_does_not_matter", "Beyond 128 samples the amount does not matter", "3.3",
          amount.does_not_matter, ("amount_fluctuation",)),
    Claim("amount_does_not_close_gaps", "More samples do not close the gap between sources", "3.3",
          amount.does_not_close_gaps),
    Claim("deviation_falls_with_amount", "The deviation between seeds falls with more samples", "3.3",
          amount.deviation_falls),
    Claim("similarity_ranks_sources", "The more like the training data, the better the source", "3.4",
          source.similarity_ranks, ("jaccard_c4", "jaccard_slimpajama", "jaccard_wikipedia")),
    Claim("quality_does_not_rank", "High quality (Wikipedia) does not make a good source", "3.4",
          source.quality_does_not_rank, ("wikipedia_behind_dclm",)),
    Claim("generated_beats_every_source", "Self-generated text beats its source, for each source and method", "5.2",
          generated.beats_every_source, ("gain_wikipedia", "gain_c4_slimpajama", "gain_llama", "largest_gain")),
    Claim("generated_beats_real", "Self-generated text beats real text on average", "5.2",
          generated.beats_real_on_average),
    Claim("better_language_modelling", "Self-generated text gives lower perplexity than real text", "5.2",
          generated.better_language_modelling),
    Claim("generated_beats_training_data", "Self-generated text beats real training data", "5.2",
          generated.beats_training_data, ("gain_over_training",)),
    Claim("wikipedia_beats_c4", "Self-generated text from Wikipedia beats real C4", "5.2",
          generated.from_wikipedia_beats_c4, ("gain_wikipedia_over_c4", "gain_llama_over_c4")),
    Claim("alike_whatever_source", "Self-generated text does alike, whatever source it continues", "5.2",
          generated.alike_whatever_source),
    Claim("gain_in_patterns", "Self-generated text beats real text in both N:M patterns", "6.1",
          generated.gain_in_patterns, ("gain_patterns",)),
    Claim("matches_training_data", "At each sparsity self-generated text matches or exceeds training data", "6.1",
          generated.matches_training_data),
    Claim("any_prefix_beats_real", "With a prefix of any length it beats real text", "6.2",
          setting.any_prefix_beats_real),
    Claim("short_prefixes_beat_long", "Prefixes of 1 to 4 tokens beat longer ones", "6.2",
          setting.short_prefixes_beat_long, ("best_prefix",)),
    Claim("unfiltered_beats_real", "Without filtering it still beats real text", "6.3", setting.unfiltered_beats_real),
    Claim("modest_filtering_helps", "Dropping 10 to 20 % beats dropping nothing", "6.3",
          setting.modest_filtering_helps, ("best_filter",)),
    Claim("more_filtering_hurts", "Dropping 10 to 20 % beats dropping more", "6.3",
          setting.more_filtering_hurts, ("best_filter",)),
    Claim("heavy_filtering_falls_back", "Heavy filtering does as no filtering", "6.3",
          setting.heavy_filtering_falls_back),
    Claim("generated_has_higher_min_k", "Self-generated text has higher Min-K%++ than real text", "6.4",
          generated.higher_min_k, from_scores=True),
)  # fmt: skip
# fmt: skip
