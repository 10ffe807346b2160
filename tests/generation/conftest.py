"""One thread for every test here."""

from one_thread import one_thread  # noqa: F401
