"""Our own forward pass of every declared family, with attention and products that transformers' models use too."""
