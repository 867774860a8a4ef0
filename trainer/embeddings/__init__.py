"""Embeddings: computed once per image, stored on disk, and shared by everything that learns."""
