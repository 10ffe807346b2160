"""A run of pruning or quantization, decoder layer by decoder layer, from the inputs of linears to masks and codes."""
