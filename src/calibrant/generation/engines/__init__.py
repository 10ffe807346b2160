"""What writes the rows: our own loop over a decoder, or vLLM."""
