"""Compressing a model by masks, by codes of few bits, or by both; in this room itself a quantized weight as tensors."""
