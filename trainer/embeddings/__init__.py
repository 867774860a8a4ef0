"""From images to vectors: computed once an image, kept on disk, shared by everything that learns."""
