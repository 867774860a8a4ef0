"""What learns from labels: the head, fitted anew on every batch."""
