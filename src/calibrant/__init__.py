"""Calibrant: find and build the text on which a language model should be calibrated before pruning."""

from calibrant.version import __version__

__all__ = ["__version__"]
