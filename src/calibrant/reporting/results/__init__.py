"""What a study ran and what came out: the index, one tidy frame, cells, measures, and the paper's published numbers."""
