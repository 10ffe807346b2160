"""Calibrant: find and build the text on which a language model should be calibrated before pruning."""

__version__ = "0.1.0"
