"""Answers for single images: what may be written, classes, and what a page shows with a question."""
