"""Drawn scenes whose truth is known exactly, and the recipe that trains the mini models on them."""
