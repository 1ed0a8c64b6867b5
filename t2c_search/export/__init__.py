"""Hits to files that people use elsewhere."""
