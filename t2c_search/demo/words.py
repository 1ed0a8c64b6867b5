"""The words of the drawn world: each thing's canonical name with its synonyms, canonical first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHAPES: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc", "disk"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "diamond": ("diamond", "rhombus"),
    "star": ("star",),
    "heart": ("heart",),
    "cross": ("cross", "plus"),
    "ring": ("ring", "hoop"),
    "crescent": ("crescent", "sickle"),
    "arrow": ("arrow", "pointer"),
}
COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "lemon"),
    "green": ("green", "emerald"),
    "blue": ("blue", "azure"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rosy"),
    "white": ("white", "ivory"),
}
FILLS: dict[str, tuple[str, ...]] = {
    "plain": ("plain", "solid"),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted"),
}
SIZES: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium",),
    "large": ("large", "big", "huge"),
}
BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "grass": ("on grass", "on the grass", "on a lawn", "in a meadow"),
    "sky": ("in the sky", "against the sky", "among the clouds"),
    "sand": ("on sand", "on the sand", "on a beach", "in the desert"),
    "night": ("at night", "in the night", "in the dark"),
    "snow": ("on snow", "on the snow", "in the snow"),
    "water": ("in water", "in the water", "on the sea"),
    "brick": ("on brick", "on bricks", "on a brick wall"),
    "wood": ("on wood", "on a wooden board", "on a wooden table"),
}
ANYTHING = ("object", "thing", "shape", "figure")
COUNTS: dict[int, tuple[str, ...]] = {1: ("one", "1"), 2: ("two", "2"), 3: ("three", "3"), 4: ("four", "4")}
RELATIONS: dict[str, tuple[str, ...]] = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
PICTURES = ("a picture of", "a photo of", "a drawing of", "an image of", "a scene with")
"""How a caption may begin."""
OPENINGS = (*PICTURES, "there is", "there are")
"""How a phrase may begin."""
ARTICLES = ("a", "an", "the")
TABLES: tuple[Mapping[Any, tuple[str, ...]], ...] = (
    SHAPES, COLOURS, FILLS, SIZES, BACKGROUNDS, COUNTS, RELATIONS, {"object": ANYTHING}, {"opening": OPENINGS},
)  # fmt: skip


def plural(noun: str) -> str:
    """The plural of one of this world's nouns."""
    return noun + ("es" if noun[-1] in "sx" else "s")


def listing() -> str:
    """All tables, a line for each name with its synonyms."""
    return "\n".join(f"{name}: {', '.join(synonyms)}" for table in TABLES for name, synonyms in table.items())


def with_article(noun_phrase: str) -> str:
    """A noun phrase of this world after its "a" or "an"."""
    return f"{'an' if noun_phrase[0] in 'aeiou' else 'a'} {noun_phrase}"


def canonical(names: dict[str, tuple[str, ...]], word: str) -> str | None:
    """The name that ``word`` is a synonym of, or None."""
    return next((name for name, synonyms in names.items() if word in synonyms), None)
