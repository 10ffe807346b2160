"""A study's configuration: preset, experiment and overrides merged, validated, and unrolled into runs.

Light on purpose: the Snakefile imports it in every job.
"""
