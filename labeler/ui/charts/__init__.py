"""Charts and tables, as pure functions of messages."""
