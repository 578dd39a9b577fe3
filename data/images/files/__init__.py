"""Files that may be images: which are, what is in them, and what was found so far."""
