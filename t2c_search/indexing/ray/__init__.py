"""The stages of indexing on a Ray cluster."""
