"""Rows of label files: reading one from any table, and what an export has about an image."""
