"""Every setting with its default, unit and reason, as TOML files that are read at start."""
