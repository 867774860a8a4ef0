"""The messages that pass between a browser, the labeler and the trainer, one module a stream."""
