"""The parts of a loaded model: decoder layers, their linears, how they are called, the output head."""
