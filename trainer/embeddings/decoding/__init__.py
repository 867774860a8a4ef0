"""Reads images ahead of the network, in threads or in separate processes."""
