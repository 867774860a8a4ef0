"""HTTP routes. Each parses a request, calls a domain function, and answers; decisions belong in the rooms."""
