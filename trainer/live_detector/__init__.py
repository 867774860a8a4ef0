"""The detector of a running trainer: its view of the images, its training rounds, its threshold, its state on disk."""
