"""Databases and files that survive a kill, and what to say when the disk refuses."""
