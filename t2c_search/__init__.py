"""Search images by text constraints, with any vision backbone aligned to CLIP space, on Qdrant."""
