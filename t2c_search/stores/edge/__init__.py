"""The embedded engine, Qdrant's own core in this process."""
