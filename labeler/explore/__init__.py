"""Pages that show many images at once."""
