"""Decides which image is asked about next: the queue, leases, and the schedule of held-out images."""
