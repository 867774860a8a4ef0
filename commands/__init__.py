"""What `flywheel` does, one module a command. They start services and talk HTTP; they import neither service."""
