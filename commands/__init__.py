"""What `flywheel` does, one module a command. They start services, talk HTTP to them, and read a workspace that nobody has open."""
