"""Log-likelihoods of continuations under a model, each shared token computed once."""
