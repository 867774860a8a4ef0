"""Commands that start, find and control a project."""
