"""Commands that copy, restore and repair a workspace."""
