"""How well a model knows a text, and how alike texts are: perplexity, Min-K%++, similarity, contamination."""
