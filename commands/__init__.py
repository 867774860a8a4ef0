"""The commands of `flywheel`, one module each.

They start services, talk HTTP to them, and read a workspace that nobody has open.
"""
