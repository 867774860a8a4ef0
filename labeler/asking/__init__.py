"""Which image is asked next: the queue, leases, and when held-out images have their turn."""
