"""What a race chooses by where nothing else is asked for."""

MEASURE = "kl"  # docs/race.md argues it from measurements
