"""Progress shown elsewhere: Weights & Biases, and the terminal."""
