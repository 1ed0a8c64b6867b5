"""The concepts that a fit's criterion asks a CLIP model that takes any text: what its users are likely to ask."""

from __future__ import annotations

from importlib.resources import files

_OWN = {"mini": "mini_concepts.txt"}
"""CLIP models that know a world of their own, by id."""


def concept_vocabulary(clip_id: str) -> tuple[str, ...]:
    """Return short texts: objects, animals, people, actions, scenes, materials and colours of everyday English, or for
    the mini CLIP model the looks of the drawn world."""
    text = files(__package__).joinpath(_OWN.get(clip_id, "concepts.txt")).read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))
