"""A collection as a map: clusters, what sets each apart in words, and a place in the plane for every image."""
