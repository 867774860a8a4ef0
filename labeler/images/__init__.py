"""The images of a project: the catalogue, their files, and their splits."""
