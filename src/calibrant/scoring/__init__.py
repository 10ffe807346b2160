"""How well a model knows a text: perplexity, Min-K%++, similarity between corpora."""
