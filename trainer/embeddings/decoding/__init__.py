"""Reads images ahead of the network, in threads or in processes of its own."""
