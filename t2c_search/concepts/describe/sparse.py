"""Sparse non-negative words: vectors of CLIP space as few concepts of a vocabulary, with weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.errors import UsageError
from t2c_search.types import FloatArray

WORDS = 8
MOST_WORDS = 100
_STEP_DOWN, _STEPS = 0.8, 13  # from one penalty to the next, and how many are tried: down to a twentieth
_CELLS = 500_000  # cosines held at once, in a processor's cache
_WORKING = 16  # concepts among which a row's words are looked for, or twice its words
_TOLERANCE = 1e-4  # by which a cosine may miss its optimum
_SWEEPS = 200
_STEP = 1e-6  # in a weight, below which a sweep changed nothing
_LEAST = 1e-6  # length of a vector, below which it is rounding

Array = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class SparseRow:
    """One vector's words: the concepts' places in the vocabulary, largest weight first, and their weights.

    ``cosine`` is that of the vector with what they add up to, neither with its mean; 0 where there is no word.
    """

    places: npt.NDArray[np.intp]
    weights: FloatArray
    cosine: float


class SparseWords:
    """Writes vectors of CLIP space as few words of a vocabulary.

    For each row z, a unit vector (a picture's without the mean of the pictures, or a direction), and concepts c = unit(t - s),
    where s is the mean of the vocabulary's texts t, it finds the weights w >= 0 that minimise |Cw - z|^2 + lambda |w|_1
    (SpLiCE, Bhalla et al., NeurIPS 2024, arXiv 2402.10376). A row's lambda is the largest that gives it so many ``words``, of
    0.8^i times 2 max(c.z), which gives it none: no one lambda suits rows, vocabularies and spaces in which pictures lie nearer
    to their texts or further from them. Of more words, those of the largest weights are kept.

    All rows of a batch are solved together, by coordinate descent among the few concepts that matter to each; then every
    other concept is tried against what is left of the row, and so on until none improves it: the optimum over the whole
    vocabulary, at the price of a product of rows and vocabulary for every penalty or two.
    """

    def __init__(self, concepts: FloatArray, words: int = WORDS) -> None:
        """Take the concepts' unit rows (v, d), and how many words to tell of each vector.

        Raises UsageError for less than two concepts, and for a number of words that cannot be.
        """
        if len(concepts) < 2:
            raise UsageError("words are told by how concepts differ from each other: give a vocabulary of at least two")
        if not 1 <= words <= MOST_WORDS:
            raise UsageError(f"{words} words cannot be told; expected 1 to {MOST_WORDS}")
        self._concepts = unit(concepts - concepts.mean(axis=0, dtype=np.float64))
        self._words = words

    def __call__(self, rows: Array) -> list[SparseRow]:
        """Find the words of (n, d) rows without the mean of the pictures, whatever their lengths; a row of zeros has none."""
        size = max(1, _CELLS // len(self._concepts))
        return [each for start in range(0, len(rows), size) for each in self._batch(rows[start : start + size])]

    def _batch(self, rows: Array) -> list[SparseRow]:
        centred = unit(rows)
        return [self._told(row, weights) for row, weights in zip(centred, self._follow(centred), strict=True)]

    def _told(self, row: FloatArray, weights: FloatArray) -> SparseRow:
        """Keep the largest weights (v,) of a centred unit row (d,)."""
        used = np.flatnonzero(weights)
        places = used[np.argsort(-weights[used], kind="stable")][: self._words]
        rebuilt = weights[places] @ self._concepts[places]
        length = float(np.linalg.norm(rebuilt))
        return SparseRow(places, weights[places], float(rebuilt @ row) / length if length else 0.0)

    def _follow(self, rows: FloatArray) -> FloatArray:
        """Lower the penalty of centred unit rows (n, d) until each has its words; return the weights (n, v)."""
        left = rows @ self._concepts.T
        highest = left.max(axis=1)
        weights = np.zeros_like(left)
        wanting = np.flatnonzero(highest > 0)
        left = left[wanting]
        for step in range(1, _STEPS + 1):
            if not len(wanting):
                break
            bound = highest[wanting] * np.float32(_STEP_DOWN**step)
            found = self._solve(rows[wanting], left, bound, weights[wanting])
            weights[wanting] = found
            few = np.count_nonzero(found, axis=1) < self._words
            wanting, left = wanting[few], left[few]
        return weights

    def _solve(self, rows: FloatArray, left: FloatArray, bound: FloatArray, weights: FloatArray) -> FloatArray:
        """Return the weights (n, v) of rows (n, d) for a penalty of twice the bound (n,), starting from some weights.

        ``left`` (n, v), the concepts' products with what the weights leave of a row, is brought up to date.
        """
        missed = np.arange(len(rows))
        while len(missed):
            mine, gain = weights[missed], left[missed] - bound[missed, None]
            count = max(_WORKING, 2 * int(np.count_nonzero(mine, axis=1).max()))
            active = _largest(np.where(mine > 0, np.inf, gain), count)
            chosen = self._concepts[active]
            products = np.matmul(chosen, chosen.transpose(0, 2, 1))
            linear = np.einsum("nkd,nd->nk", chosen, rows[missed]) - bound[missed, None]
            solved = _descend(products, linear, np.take_along_axis(mine, active, axis=1))
            np.put_along_axis(mine, active, solved, axis=1)
            weights[missed] = mine
            left[missed] = now = (rows[missed] - np.einsum("nk,nkd->nd", solved, chosen)) @ self._concepts.T
            gain = now - bound[missed, None]
            missed = missed[np.where(mine > 0, np.abs(gain), gain).max(axis=1) > _TOLERANCE]
        return weights


def unit(rows: Array) -> FloatArray:
    """Return rows (n, d) at length 1; those that are nothing but rounding become 0."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > _LEAST, rows / np.maximum(lengths, _LEAST), 0).astype(np.float32)


def _largest(values: FloatArray, count: int) -> npt.NDArray[np.intp]:
    """Return the places of the largest values of each row, in no order: (n, count), or as many as there are."""
    if count >= values.shape[1]:
        return np.tile(np.arange(values.shape[1]), (len(values), 1))
    return np.argpartition(values, -count, axis=1)[:, -count:]


def _descend(products: FloatArray, linear: FloatArray, weights: FloatArray) -> FloatArray:
    """Minimise w'Pw / 2 - l'w over w >= 0 for n problems at once: products P (n, k, k) of unit rows, l and w (n, k)."""
    weights = weights.copy()
    left = linear - np.einsum("njk,nk->nj", products, weights)
    for _ in range(_SWEEPS):
        moved = 0.0
        for at in range(weights.shape[1]):
            step = np.maximum(weights[:, at] + left[:, at], 0) - weights[:, at]
            weights[:, at] += step
            left -= step[:, None] * products[:, at]
            moved = max(moved, float(np.abs(step).max()))
        if moved < _STEP:
            break
    return weights
