"""HTTP routes. Each parses a request, calls a domain function, and answers; nothing is decided here."""
