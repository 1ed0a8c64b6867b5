"""Vectors taken apart: which places of an image, and which words of a text, made which part of its vector."""
