"""The figures that we claim, each one command; every one prints the machine and the versions that it ran on."""
