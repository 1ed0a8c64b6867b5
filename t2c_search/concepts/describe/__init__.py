"""Sentences from vectors of CLIP space, by a small language model that was trained on text alone."""
