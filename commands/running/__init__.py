"""Commands that start, find and steer a project."""
