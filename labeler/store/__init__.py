"""What the labeler keeps: the database, the annotation log, and counts that follow it."""
