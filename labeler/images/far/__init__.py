"""Images that are not on this machine: fetched in the background, and listed again at regular intervals."""
