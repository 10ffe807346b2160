"""Calibration sets: their schema, how they are sampled and filtered."""
