"""Finds labels that may be wrong, and odd images."""
