"""Concept bottlenecks without concept labels: classes told by how much of a few named concepts is in a picture."""
