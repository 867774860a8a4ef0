"""What differs on a GPU: 16 bits, large batches, copies beside the computation, and its memory."""
