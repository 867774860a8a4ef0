"""The images of a project: the catalog, where their files lie, and which split each is in."""
