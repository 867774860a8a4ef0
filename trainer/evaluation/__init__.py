"""Model quality with confidence intervals. Arrays in, numbers out."""
