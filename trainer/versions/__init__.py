"""Saved model versions: on disk, as predictors, and exported to common formats."""
