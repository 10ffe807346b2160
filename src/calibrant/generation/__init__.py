"""Text that the model writes itself: prompts, the draw of tokens, rows in waves."""
