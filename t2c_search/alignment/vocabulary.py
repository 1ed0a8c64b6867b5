"""A few hundred everyday English concepts: what the fit's criterion asks a CLIP model that takes any text."""

from __future__ import annotations

from importlib.resources import files


def concept_vocabulary() -> tuple[str, ...]:
    """Return the bundled concepts: objects, animals, people, actions, scenes, materials and colours, each a short
    text."""
    text = files(__package__).joinpath("concepts.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))
