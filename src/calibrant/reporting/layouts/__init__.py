"""The tables and figures of the paper, by the name that an experiment gives under `layout`."""

from calibrant.reporting.layouts.base import Inputs, Layout, Products

LAYOUTS: dict[str, Layout] = {}

__all__ = ["LAYOUTS", "Inputs", "Layout", "Products"]
