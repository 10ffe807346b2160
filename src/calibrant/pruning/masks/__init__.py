"""Masks in files, in models and in checkpoints."""
