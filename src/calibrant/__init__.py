"""Calibrant: find and build the text on which a language model should be calibrated before pruning.

Importing it is light, and makes transformers' auto classes find OpenLM (apple/DCLM-7B).
"""

from calibrant.models.openlm import registration
from calibrant.version import __version__

__all__ = ["__version__"]

registration.install()
