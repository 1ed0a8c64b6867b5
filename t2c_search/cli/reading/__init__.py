"""Commands that read vectors in words: each is its parameters plus one call of the facade."""
