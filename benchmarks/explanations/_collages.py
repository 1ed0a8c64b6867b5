"""Collages of photographs, 2 x 2, each quadrant of which shows another of four nouns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from t2c_search.decoding.decode import decode_file

TILE = 224
"""Pixels of a quadrant's side."""


@dataclass(frozen=True)
class Collage:
    """Four photographs, row by row, the noun that each alone shows, and the order in which texts name them."""

    files: tuple[Path, ...]
    nouns: tuple[str, ...]
    order: tuple[int, ...]

    def picture(self) -> Image.Image:
        """The four, each cut to its middle square."""
        whole = Image.new("RGB", (2 * TILE, 2 * TILE))
        for at, file in enumerate(self.files):
            tile = ImageOps.fit(decode_file(file), (TILE, TILE), Image.Resampling.BICUBIC)
            whole.paste(tile, (at % 2 * TILE, at // 2 * TILE))
        return whole


def collages(files: Mapping[str, Sequence[Path]], nouns: Sequence[str], count: int, seed: int) -> list[Collage]:
    """Make so many collages of four nouns from the files that show each, at random."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        placed = [nouns[at] for at in rng.permutation(4)]
        chosen = tuple(files[noun][rng.integers(len(files[noun]))] for noun in placed)
        made.append(Collage(chosen, tuple(placed), tuple(rng.permutation(4).tolist())))
    return made


def alone(said: Mapping[Path, set[str]], forms: Mapping[str, set[str]]) -> dict[str, list[Path]]:
    """The files by the noun that they show, of those that show exactly one: ``said`` are a file's words."""
    found: dict[str, list[Path]] = {noun: [] for noun in forms}
    for file, words in said.items():
        shown = [noun for noun, known in forms.items() if words & known]
        if len(shown) == 1:
            found[shown[0]].append(file)
    return found
