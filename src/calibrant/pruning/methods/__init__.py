"""What decides which weights go: criteria, allocations and refinements, and their composition to a method."""
