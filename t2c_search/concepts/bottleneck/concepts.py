"""The concepts a bottleneck may use: scores of images, names too near to the classes' own, and the controls' directions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.bottleneck.head import Array
from t2c_search.concepts.bottleneck.sample import Labels
from t2c_search.state.bottlenecks import LeftOut
from t2c_search.types import FloatArray, unit_rows

NEAR = 0.5
"""Cosine of two texts, both less the mean of all, from which a concept is a near-synonym of a class or a kind of it: with
CLIP ViT-B/32 it leaves out jet plane (.60), kitten (.69) and pigeon (.59), and leaves in helicopter (.42) and wolf (.44)."""
ALIKE = 0.9
"""The same cosine of two concepts, from which the later one says nothing of its own, and an intervention on one would leave
the other as it is: with the mini CLIP model "on brick" and "on a brick wall" (1.00), with CLIP ViT-B/32 none of LVIS's names."""
MOST_SCORED = 300
"""Concepts that a path is fitted on: those that differ most between the classes by the F-test of the images fitted on."""

_BLOCK = 1000  # concepts compared with all before them at a time
_WORD = re.compile(r"[^\W_]+")
_ARTICLES = ("a", "an", "the")
_ONSETS, _VOWELS = "bdfgjklmnprstvz", "aeiou"


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Directions (k, d) as concepts of some images: ``mean`` and ``sd`` (k,) of the dot products with them."""

    directions: Array
    mean: Array
    sd: Array

    @classmethod
    def of(cls, directions: npt.NDArray[np.floating], vectors: FloatArray) -> Scale:
        """Measure directions on images (n, d)."""
        products = vectors.astype(np.float64) @ directions.T
        return cls(np.asarray(directions, np.float64), products.mean(0), np.maximum(products.std(0), 1e-6))

    def scores(self, vectors: FloatArray) -> Array:
        """Map images (n, d) to scores (n, k) in standard deviations above the mean of the images measured."""
        scores: Array = (vectors.astype(np.float64) @ self.directions.T - self.mean) / self.sd
        return scores

    def take(self, places: npt.NDArray[np.integer]) -> Scale:
        """Return the directions of these places."""
        return Scale(self.directions[places], self.mean[places], self.sd[places])


def too_near(
    names: Sequence[str], rows: FloatArray, classes: Sequence[tuple[str, ...]], class_rows: FloatArray | None
) -> dict[int, LeftOut]:
    """Return which concepts, by their place, have a class's name in theirs or a text too near to the class's.

    ``rows`` (k, d) are the concepts' texts, ``class_rows`` (c, d) the classes', each of whose wordings are in ``classes``.
    """
    found: dict[int, LeftOut] = {}
    stems = [(wording, _stems(wording)) for wordings in classes for wording in wordings]
    for at, name in enumerate(names):
        own = f" {' '.join(_stems(name))} "
        for wording, stem in stems:
            if stem and f" {' '.join(stem)} " in own:
                found[at] = LeftOut(name, wording, None)
    if class_rows is not None:
        mean = np.concatenate([rows, class_rows]).mean(0)
        cosines = unit_rows(rows - mean) @ unit_rows(class_rows - mean).T
        for at in np.flatnonzero(cosines.max(1) >= NEAR).tolist():
            nearest = int(cosines[at].argmax())
            found.setdefault(at, LeftOut(names[at], classes[nearest][0], float(cosines[at, nearest])))
    return found


def said_before(names: Sequence[str], rows: FloatArray) -> dict[int, LeftOut]:
    """Return which concepts, by their place, have a text (k, d) that an earlier one's is nearly the same as."""
    found: dict[int, LeftOut] = {}
    centred = unit_rows(rows - rows.mean(0))
    for start in range(0, len(names), _BLOCK):
        cosines = np.tril(centred[start : start + _BLOCK] @ centred[: start + _BLOCK].T, start - 1)
        for row in np.flatnonzero(cosines.max(1, initial=0) >= ALIKE).tolist():
            nearest = int(cosines[row].argmax())
            found[start + row] = LeftOut(names[start + row], names[nearest], float(cosines[row, nearest]))
    return found


def most_telling(scores: Array, labels: Labels) -> npt.NDArray[np.integer]:
    """Return the places of the ``MOST_SCORED`` concepts that differ most between the classes, in their order."""
    from sklearn.feature_selection import f_classif

    if scores.shape[1] <= MOST_SCORED:
        return np.arange(scores.shape[1])
    told = np.nan_to_num(f_classif(scores, labels)[0], nan=-1.0)
    return np.sort(np.argsort(-told, kind="stable")[:MOST_SCORED])


def random_directions(count: int, dim: int, seed: int) -> Array:
    """Draw unit directions (count, dim), every way alike."""
    return unit_rows(np.random.default_rng(seed).standard_normal((count, dim)))


def random_words(count: int, seed: int) -> list[str]:
    """Make words that mean nothing, of three syllables, no two the same."""
    rng = np.random.default_rng(seed)
    words: dict[str, None] = {}
    while len(words) < count:
        onsets, vowels = rng.integers(len(_ONSETS), size=3), rng.integers(len(_VOWELS), size=3)
        words["".join(_ONSETS[o] + _VOWELS[v] for o, v in zip(onsets, vowels, strict=True))] = None
    return list(words)


def _stems(text: str) -> list[str]:
    """Return a text's words without articles and the s of plurals."""
    words = [word for word in _WORD.findall(text.casefold()) if word not in _ARTICLES]
    return [word if len(word) < 4 or word.endswith("ss") else word.removesuffix("s") for word in words]
