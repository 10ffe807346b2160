"""A choice between texts, as files: what judges, what may be calibrated on, each round of the race, and the answer."""
