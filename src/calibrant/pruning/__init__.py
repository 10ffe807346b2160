"""One-shot pruning as a composition: criterion x allocation x refinement x pattern."""
