"""Self-generation: the model writes its own calibration text."""
