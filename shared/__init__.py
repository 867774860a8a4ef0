"""What the labeler and the trainer agree on. Imports neither of them."""
