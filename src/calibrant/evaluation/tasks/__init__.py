"""lm-eval's tasks over hub or local rows, and the lm-eval model that answers them."""
