"""What parts of images and texts say to each other: a region in words, the places that two images share, words beside words.

Every value is a dot product of two parts about the collection's mean: image vectors lie together, and without their mean taken
off any two would be alike everywhere. What no part gives is spread evenly over the parts, as in ``maps``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from t2c_search.explain.view import View
from t2c_search.results import Column, Tabular

if TYPE_CHECKING:
    from t2c_search.attribution.factors import PlaceFactors
    from t2c_search.query.planning.calibration import Array
    from t2c_search.types import FloatArray


@dataclass(frozen=True, slots=True)
class RegionWord:
    """A word that a region says: what it gives to the image's z-score of the word, and what all the rest of the image gives."""

    word: str
    share: float
    elsewhere: float


@dataclass(frozen=True, slots=True)
class RegionWords(Tabular):
    """The words of a vocabulary to which a region of an image gives most, in standard deviations.

    The region covers ``area`` of what the model sees of the image.
    """

    path: str
    area: float
    words: tuple[RegionWord, ...]

    def columns(self) -> Mapping[str, Column]:
        """Return a row for each word."""
        return {name: [getattr(word, name) for word in self.words] for name in RegionWord.__slots__}

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, as ``t2c explain --region --json`` prints it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class ImageMatch:
    """Which places make two images alike.

    ``score`` is the cosine of the two vectors about the collection's mean, and ``matrix`` (places of the one, places of the
    other), row by row of each grid, what each pair of places gives to it: they sum to it.
    """

    paths: tuple[str, str]
    score: float
    matrix: FloatArray
    grids: tuple[tuple[int, int], tuple[int, int]]
    views: tuple[View, View]

    @property
    def maps(self) -> tuple[FloatArray, FloatArray]:
        """What each place of either image gives to the score, (rows, columns) each."""
        one, other = self.grids
        return self.matrix.sum(1).reshape(one), self.matrix.sum(0).reshape(other)

    def partners(self, row: int, column: int) -> FloatArray:
        """Return the map over the other image of what its places share with one place of the first."""
        found: FloatArray = self.matrix[row * self.grids[0][1] + column].reshape(self.grids[1])
        return found

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values; the matrix is a list of rows."""
        views = [asdict(view) for view in self.views]
        return {name: getattr(self, name) for name in self.__slots__} | {"matrix": self.matrix.tolist(), "views": views}


@dataclass(frozen=True, slots=True, eq=False)
class TextMatch:
    """Which words make two texts alike: ``matrix`` (words of the one, words of the other) of what each pair gives.

    ``score`` is the cosine of the two texts' directions. The pairs sum to the product of the two, each less the direction of a
    text that says nothing, which all texts have in common.
    """

    texts: tuple[str, str]
    score: float
    words: tuple[tuple[str, ...], tuple[str, ...]]
    matrix: FloatArray

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values; the matrix is a list of rows."""
        return {name: getattr(self, name) for name in self.__slots__} | {"matrix": self.matrix.tolist()}


def centred_parts(factors: PlaceFactors, centre: Array) -> Array:
    """Return the places' parts (places, d) of one image about a centre: they sum to its vector less the centre."""
    parts: Array = factors.parts[0].cpu().double().numpy()
    rest = factors.vectors[0].cpu().double().numpy() - centre - parts.sum(axis=0)
    centred: Array = parts + rest / len(parts)
    return centred


def shares_of_places(inside: Array, grid: tuple[int, int]) -> Array:
    """Return how much of each place (places,) lies in a region, from a fine grid (k rows, k columns) of 0 and 1."""
    size = len(inside)
    rows, columns = (np.arange(size) * cells // size for cells in grid)
    counts = np.zeros(grid)
    filled = np.zeros(grid)
    at = np.ix_(rows, columns)
    np.add.at(filled, at, inside)
    np.add.at(counts, at, 1.0)
    shares: Array = (filled / counts).ravel()
    return shares
