"""Bytes to upright pixels at the size that a model needs, and what the file says of itself."""
