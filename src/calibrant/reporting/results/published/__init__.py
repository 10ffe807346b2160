"""The paper's published numbers as data: every table and number that its text holds, read into tidy frames."""

from calibrant.reporting.results.published.published_tables import (
    canonical,
    damaged,
    has_published,
    numbers,
    published_for,
    published_similarity,
    settings,
    tables,
)

__all__ = [
    "canonical",
    "damaged",
    "has_published",
    "numbers",
    "published_for",
    "published_similarity",
    "settings",
    "tables",
]
