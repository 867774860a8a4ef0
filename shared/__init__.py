"""Code that the labeler and the trainer share. It imports neither of them."""
