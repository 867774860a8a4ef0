"""Settings: their values, sources, and what a project remembers."""
