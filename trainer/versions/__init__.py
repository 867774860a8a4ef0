"""Saved model versions: on disk, as predictors, and in the formats of others."""
