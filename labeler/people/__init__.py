"""Several annotators: where they differ, and how far they agree."""
