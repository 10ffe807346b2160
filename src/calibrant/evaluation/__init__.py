"""What a pruned model can still do: tasks through lm-eval, perplexity of a text."""
