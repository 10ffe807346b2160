"""Language models: where they are, how they are loaded, what identifies them."""
