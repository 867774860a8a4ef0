"""One command for each figure that we claim. Each prints the machine and the versions that it ran on."""
