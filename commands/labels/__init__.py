"""Commands about labels and images: import, export, split, merge."""
