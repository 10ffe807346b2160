"""Tables, figures, statistics over seeds, and the paper's published numbers."""
