"""What a model knows: whether the map of a word points at what the word names, word by word.

A model may rank images by a word well and yet not see the thing itself: words whose maps point beside it are the gaps of its
knowledge (Moeller et al., TMLR 2025, section 5). A case is a picture in which it is known where the word's thing is. Its pointing
score is the share of the map's mass that speaks for the thing in its place and against it elsewhere:

    (positive mass inside + negative mass outside) / all mass,

from 0 to 1. By chance, were the place unknown, the same map scores what its positive and negative mass give on average over all
places: a quarter for a map that is positive everywhere and a quadrant, more for one that is negative in most places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from t2c_search.explain.view import View
from t2c_search.results import Column, Tabular

if TYPE_CHECKING:
    from t2c_search.types import FloatArray

FINE = 64
"""Rows and columns to which maps are enlarged before their mass is counted."""
_TILE = 224  # pixels of a collage's quadrant
_SURE = 0.95

Inside = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class GroundedWord:
    """How well a model's map of a word points at what it names: the mean score of so many ``images``, with its interval.

    ``low`` and ``high`` are a 95 % interval of Student's t. ``chance`` is what the same maps score where the place is not known.
    ``claimed`` images of the collection have the word in a caption, and ``contradicted`` of them score below the collection's
    average by it. Where two models are compared, ``other`` is the second one's score on the same pictures, and ``gain`` what it
    has more, with the interval of the paired differences.
    """

    word: str
    images: int
    score: float
    low: float
    high: float
    chance: float
    claimed: int = 0
    contradicted: int = 0
    other: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A word that an image's caption claims and its picture contradicts: by the word, its ``z`` is below 0."""

    word: str
    id: str
    path: str
    caption: str
    z: float


@dataclass(frozen=True, slots=True)
class Grounding(Sequence[GroundedWord], Tabular):
    """What a ``model`` knows of some words, the best known first; beside ``other`` where two are compared, by what it gains.

    ``contradictions`` are the worst of each word, worst first. ``notes`` say which words could not be told, and why.
    """

    model: str
    other: str | None
    words: tuple[GroundedWord, ...]
    contradictions: tuple[Contradiction, ...]
    notes: tuple[str, ...]

    @overload
    def __getitem__(self, index: int) -> GroundedWord: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[GroundedWord, ...]: ...

    def __getitem__(self, index: int | slice) -> GroundedWord | tuple[GroundedWord, ...]:
        return self.words[index]

    def __len__(self) -> int:
        return len(self.words)

    def __iter__(self) -> Iterator[GroundedWord]:
        return iter(self.words)

    def columns(self) -> Mapping[str, Column]:
        """Return a row for each word."""
        return {name: [getattr(word, name) for word in self.words] for name in GroundedWord.__slots__}

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, as ``t2c explain --grounding --json`` prints it."""
        return asdict(self)


def pointing_scores(maps: FloatArray, inside: Inside) -> npt.NDArray[np.float64]:
    """Return the pointing scores (n,) of maps (n, rows, columns) of things that lie ``inside``, and by chance: (n, 2).

    A map without any mass scores 0.
    """
    positive, negative = maps.clip(min=0), (-maps).clip(min=0)
    right = np.where(inside, positive, negative).sum((1, 2), dtype=np.float64)
    share = inside.mean((1, 2), dtype=np.float64)
    chance = share * positive.sum((1, 2), dtype=np.float64) + (1 - share) * negative.sum((1, 2), dtype=np.float64)
    mass = np.abs(maps).sum((1, 2), dtype=np.float64)
    scores: npt.NDArray[np.float64] = np.stack([right, chance], axis=1) / np.where(mass > 0, mass, 1)[:, None]
    return scores


def interval(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the mean of n values and its 95 % interval of Student's t; of one value all there is from 0 to 1 around it."""
    from scipy.stats import t

    mean = float(values.mean())
    if len(values) < 2:
        return mean, mean - 1, mean + 1
    away = float(t.ppf((1 + _SURE) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    return mean, mean - away, mean + away


def collage(pictures: Sequence[Image.Image]) -> Image.Image:
    """Lay four pictures, each cut to its middle square, two by two."""
    whole = Image.new("RGB", (2 * _TILE, 2 * _TILE))
    for at, picture in enumerate(pictures):
        tile = ImageOps.fit(picture, (_TILE, _TILE), Image.Resampling.BICUBIC)
        whole.paste(tile, (at % 2 * _TILE, at // 2 * _TILE))
    return whole


def inside_boxes(boxes: Sequence[tuple[float, float, float, float]], view: View) -> Inside:
    """Return which of FINE x FINE fields of a view have their centres in one of some boxes.

    Boxes are (left, top, right, bottom) in shares of the upright image's width and height.
    """
    at = (np.arange(FINE) + 0.5) / FINE
    across = view.left + at * (view.right - view.left)
    down = view.top + at * (view.bottom - view.top)
    inside = np.zeros((FINE, FINE), bool)
    for left, top, right, bottom in boxes:
        inside |= ((down >= top) & (down < bottom))[:, None] & ((across >= left) & (across < right))
    return inside
