"""Figures: their look, their numbers and words, and what they draw."""
