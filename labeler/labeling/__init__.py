"""Answers about single images: what may be written, classes, and what a page shows of a question."""
