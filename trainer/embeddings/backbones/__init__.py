"""Frozen networks that turn images into vectors."""
