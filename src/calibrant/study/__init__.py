"""A study's configuration, resolved and unrolled into runs: what they cost, where their files lie.

Light on purpose: the Snakefile imports it in every job.
"""
