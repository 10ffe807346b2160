"""What masks, calibration sets and checkpoints hold, and what pruning did to each layer."""
