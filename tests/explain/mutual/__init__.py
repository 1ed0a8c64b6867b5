"""Mutual knowledge: its parts against oracles, the whole against drawn scenes."""
