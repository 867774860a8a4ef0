"""Several annotators: where they differ, and how well they agree."""
