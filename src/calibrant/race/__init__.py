"""A race between candidates for calibration: which sets to run next, when to stop, and what is known of the best."""
