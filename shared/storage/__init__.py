"""Databases and files that survive a killed process, and clear errors when the disk refuses writes."""
