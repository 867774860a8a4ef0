"""The detector of a running trainer: what it sees of which image, its rounds, its threshold, and its state on disk."""
