"""Which labels and images deserve a second look."""
