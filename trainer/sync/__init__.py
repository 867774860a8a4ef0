"""The trainer's side of the connection to the labeler: its copy of the log and the catalog, and what it pushes."""
