"""The labeler: owns the images, the annotation log and the queue, and serves the pages in the browser."""
