"""Labels and images that deserve a second look."""
