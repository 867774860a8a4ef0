"""The messages between the browser, the labeler and the trainer, one module per topic."""
