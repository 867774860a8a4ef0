"""Images that are not on this machine: fetched without keeping anybody waiting, and listed again by the clock."""
