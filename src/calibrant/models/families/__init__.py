"""Families of decoders as declarations: which parts stand where, and which configuration key means what."""
