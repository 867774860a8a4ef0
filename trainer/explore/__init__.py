"""Views of the pool for the pages: similar images, groups, and maps."""
