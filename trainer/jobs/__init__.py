"""Long-running work, one process a job."""
