"""Language models; in this room itself a computer's measured rates, and the random model of the preset tiny."""
