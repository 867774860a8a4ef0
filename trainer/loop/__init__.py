"""The learning loop: fit, rank, evaluate, stop."""
