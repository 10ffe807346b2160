"""OpenLM, the architecture of apple/DCLM-7B, as an ordinary transformers model without remote code.

Importing this package is cheap: `registration` makes transformers' auto classes find the model;
`configuration` and `modeling` are imported when they do.
"""
