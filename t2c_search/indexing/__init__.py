"""Image collections -> store: list, read and decode, embed and align, write."""
