"""Columns of numbers in place of an object for each image, and indices into them."""
