"""Masks and codes in files, in models and in checkpoints."""
