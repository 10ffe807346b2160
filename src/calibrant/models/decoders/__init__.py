"""Our own forward passes of Llama-like models, with attention and products that transformers' models use too."""
