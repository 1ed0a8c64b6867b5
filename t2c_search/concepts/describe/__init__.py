"""Vectors of CLIP space told in words and sentences."""
