"""The labeler's storage: the database, the annotation log, and counts derived from it."""
