"""OpenLM, the architecture of apple/DCLM-7B, as an ordinary transformers model without remote code.

Importing this package is cheap. `registration` imports transformers and makes its auto classes find the model.
"""
