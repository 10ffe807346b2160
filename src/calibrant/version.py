"""The version of the library, which every artefact records."""

__version__ = "0.1.0"
