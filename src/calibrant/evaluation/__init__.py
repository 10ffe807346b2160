"""Accuracy on lm-eval tasks and perplexity of texts, for a model and its pruned variants.

From the bottom up: `tree` (requests that share tokens as one tree), `head` (a model's output head apart), `flat` and
`padded` (forward passes over trees: a Llama on CPU without padding, any model as a padded batch), `target` (what logits
say of the targets), `scorer` (log-likelihoods of trees under a model), `lm` (the scorer as an lm-eval model), `index`,
`rows` and `tasks` (lm-eval's tasks over local or hub rows), `text` (perplexity), `evaluate` (all of it, for several
masks on one loaded model).
"""
