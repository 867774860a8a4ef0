"""Long work in processes of its own: training, comparing and challenging models."""
