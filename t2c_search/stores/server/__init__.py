"""A Qdrant server, or Qdrant's in-memory engine, through qdrant-client."""
