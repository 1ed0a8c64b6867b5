"""Collages of photographs, 2 x 2, each quadrant of which shows another of four nouns; texts that name some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks._captions import REAL, forms, phrase, read_captions, words
from t2c_search.decoding.decode import decode_file
from t2c_search.explain.grounding import FINE, Inside, collage

QUADRUPLES = (
    ("dog", "street", "mountain", "pool"),
    ("dog", "car", "boy", "beach"),
    ("man", "snow", "ball", "boat"),
    ("girl", "bicycle", "grass", "rock"),
    ("woman", "dog", "skateboard", "lake"),
    ("horse", "child", "street", "ocean"),
    ("motorcycle", "people", "tree", "football"),
    ("boy", "snow", "building", "river"),
    ("dog", "crowd", "fence", "sand"),
    ("man", "wall", "water", "field"),
)
"""Nouns of the photographs' captions that name things apart, frequent ones with rare ones."""
FULL_SIZE = Path(__file__).with_name("full_size.txt")


@dataclass(frozen=True)
class Collage:
    """Four photographs, row by row, with the noun that each alone shows; texts name the first, two, three or four ``named``."""

    files: tuple[Path, ...]
    nouns: tuple[str, ...]
    named: tuple[str, ...]

    def picture(self) -> Image.Image:
        return collage([decode_file(file) for file in self.files])

    def inside(self, noun: str) -> Inside:
        """Where a noun's quadrant is, of FINE x FINE fields."""
        row, column = divmod(self.nouns.index(noun), 2)
        halves = np.arange(FINE) * 2 // FINE
        return (halves == row)[:, None] & (halves == column)


def text_of(nouns: Sequence[str]) -> str:
    """Name nouns in one text."""
    return " and ".join(map(phrase, nouns))


def collages(files: Mapping[str, Sequence[Path]], count: int, seed: int) -> list[Collage]:
    """Make so many collages of four nouns from the files that show each, at random."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        nouns, named = (tuple(rng.permutation(list(files)).tolist()) for _ in range(2))
        made.append(Collage(tuple(files[noun][rng.integers(len(files[noun]))] for noun in nouns), nouns, named))
    return made


def of_captions(split: str, quadruples: Sequence[Sequence[str]], each: int) -> list[Collage]:
    """So many collages of ``each`` quadruple, of photographs whose captions name exactly one of the four."""
    return [
        collage for seed, nouns in enumerate(quadruples) for collage in collages(said_alone(split, nouns), each, seed)
    ]


def of_full_size(each: int) -> tuple[list[Collage], dict[str, int]]:
    """Collages of the full-size pictures, and how many pictures each word has."""
    found = full_size()
    order = sorted((word for word in found if len(found[word]) > 1), key=lambda word: -len(found[word]))
    quadruples = [order[start : start + 4] for start in range(0, len(order) - 3, 4)]
    made = [
        collage
        for seed, nouns in enumerate(quadruples)
        for collage in collages({noun: found[noun] for noun in nouns}, each, seed)
    ]
    return made, {word: len(found[word]) for word in order}


def full_size() -> dict[str, list[Path]]:
    """The full-size pictures by the words of the committed table."""
    named = [line.split() for line in FULL_SIZE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {
        word: [file for synset in synsets for file in sorted((REAL / "photos_fullsize").glob(f"{synset}_*"))]
        for word, *synsets in named
    }


def said_alone(split: str, nouns: Sequence[str]) -> dict[str, list[Path]]:
    """The photographs of a split by the noun, of those whose captions name exactly one of these."""
    said = {REAL / "photos" / "images" / name: words(captions) for name, captions in read_captions(split).items()}
    return alone(said, {noun: forms(noun) for noun in nouns})


def alone(said: Mapping[Path, set[str]], known: Mapping[str, set[str]]) -> dict[str, list[Path]]:
    """The files by the noun that they show, of those that show exactly one: ``said`` are a file's words."""
    found: dict[str, list[Path]] = {noun: [] for noun in known}
    for file, spoken in said.items():
        shown = [noun for noun, variants in known.items() if spoken & variants]
        if len(shown) == 1:
            found[shown[0]].append(file)
    return found
