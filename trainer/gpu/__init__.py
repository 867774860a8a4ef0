"""GPU specifics: 16-bit arithmetic, large batches, copies during the computation, and memory limits."""
