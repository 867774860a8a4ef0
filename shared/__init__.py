"""Code that the labeler and the trainer share. Imports neither of them."""
