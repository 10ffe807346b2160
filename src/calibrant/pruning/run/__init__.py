"""A pruning run: one decoder layer after the other, from the inputs of its linears to its masks."""
