"""Rows of label files: how one is read from any table, and what is exported of an image."""
