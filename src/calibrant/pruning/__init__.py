"""In this room itself: a quantized weight as tensors."""
