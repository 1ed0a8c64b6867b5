"""Reading vectors in words."""
