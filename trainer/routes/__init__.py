"""HTTP routes: each turns a request into one call of the service, and an error into a sentence with a status."""
