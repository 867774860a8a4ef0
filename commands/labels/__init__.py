"""Commands about labels and images: in, out, split, merged."""
