"""Long work in separate processes: training, comparing and challenging models."""
