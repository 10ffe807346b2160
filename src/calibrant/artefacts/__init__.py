"""How files are written, hashed and described: atomically, deterministically, with their origin.

The lowest package of the library: it knows nothing of models, text or pruning.
"""
