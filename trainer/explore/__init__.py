"""How the pool lies in embedding space, for the pages."""
