"""A model on disk: its files, its identity, its tensors' names, and the ways to load it."""
