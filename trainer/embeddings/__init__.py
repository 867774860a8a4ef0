"""Images to vectors: a frozen backbone, run once an image, and the store that keeps what came out."""
