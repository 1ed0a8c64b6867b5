"""Files that hold many images: archives, tables with their bytes, videos, and rows of embeddings."""
