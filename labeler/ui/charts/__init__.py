"""Charts and tables, as pure functions from wire types."""
