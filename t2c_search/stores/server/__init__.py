"""A Qdrant server, or Qdrant's in-memory engine, through qdrant-client."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # before it is loaded: it writes lines of its own to standard error
