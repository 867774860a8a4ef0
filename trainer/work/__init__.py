"""What a job in its process begins with: its inputs, and the networks to train."""
