"""Finding, checking and decoding image files within bounded memory."""
