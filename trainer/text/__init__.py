"""Suggests classes by their names, with a network that was trained on images and their captions."""
