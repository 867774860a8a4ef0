"""The labeler: owns the truth, which is the images, the annotation log, the queue and the pages in the browser."""
