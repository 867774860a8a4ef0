"""The commands of `flywheel`, one module each.

They start services, send them HTTP requests, and read workspaces whose services are stopped.
"""
