"""Accuracy on lm-eval tasks and perplexity of texts, for a model and its pruned variants."""
