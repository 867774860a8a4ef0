"""Finds labels and images that deserve a second look."""
