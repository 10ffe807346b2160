"""What a study's runs say: tests over seeds, the paper's conclusions, sentences."""
