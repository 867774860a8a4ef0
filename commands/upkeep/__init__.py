"""Commands that look after a workspace."""
