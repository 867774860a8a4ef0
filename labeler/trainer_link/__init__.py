"""The labeler's side of the connection to the trainer."""
