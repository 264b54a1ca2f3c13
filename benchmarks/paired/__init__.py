"""Two programs on one work: the same weights and data, shown to compute the same, timed in turns, compared as a ratio."""
