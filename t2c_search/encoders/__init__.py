"""Pixels and words to vectors: every backbone and CLIP model, behind two small protocols."""
