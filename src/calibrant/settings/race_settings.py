"""What a race chooses by where nothing else is asked for, and what it begins with."""

MEASURE = "kl"  # docs/race.md argues it from measurements
FIRST = 2  # sets of every candidate in the first round: one says nothing of their spread
