"""Calibration sets: what they hold, how windows of text are drawn, how samples are filtered."""
