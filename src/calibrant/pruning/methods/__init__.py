"""What is pruned: criteria, allocations and refinements, and how a method is composed of them."""
