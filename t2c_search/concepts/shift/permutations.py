"""What chance alone does: sides dealt out anew, within strata, for the largest t of all words and for the energy distance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from t2c_search.concepts.shift.measures import Summary, welch
from t2c_search.concepts.shift.sample import Bools, Places
from t2c_search.query.planning.calibration import Array
from t2c_search.types import FloatArray

ENERGY_IMAGES = 2_000
"""Images a side that the energy distance is taken of: its pairs are 64 MB of distances."""
_ROUNDING = 1e-6  # relative, of sums in single precision
_WORDS, _DEALS = 128, 100  # at a time: some 20 MB each at 40,000 images


def deal(is_a: Bools, strata: Sequence[Places], times: int, rng: np.random.Generator) -> Bools:
    """Return ``times`` + 1 ways, (times + 1, n), to deal n images out to A: the first as it was, the others by chance.

    As many of each stratum (places of its images) as before go to A.
    """
    dealt = np.tile(is_a, (times + 1, 1))
    for places in strata:
        dealt[1:, places] = rng.permuted(dealt[1:, places], axis=1)
    return dealt


def largest_t(scores: Iterator[FloatArray], dealt: Bools, strata: Sequence[Places]) -> Array:
    """Return p-values (m,) that hold for all words together (max-T, Westfall and Young 1993; single step).

    ``scores`` are (n, some words) of z-scores. A word's p is how often the largest |t| of all words, Welch's, reaches its own,
    among the ways to deal.
    """
    own: list[Array] = []
    largest = np.zeros(len(dealt))
    for part in scores:
        t = _welch_of_deals(part, dealt, strata)
        own.append(t[0])
        largest = np.maximum(largest, t.max(1))
    ordered = np.sort(largest[1:])
    reached = len(ordered) - np.searchsorted(ordered, np.concatenate(own) * (1 - _ROUNDING))
    return np.asarray((1 + reached) / len(dealt))


def in_parts(rows: FloatArray, directions: FloatArray) -> Iterator[FloatArray]:
    """Yield the scores of rows (n, d) in directions (m, d), some words at a time, about their mean."""
    for start in range(0, len(directions), _WORDS):
        scores = rows @ directions[start : start + _WORDS].T
        yield scores - scores.mean(0, dtype=np.float64).astype(np.float32)


def _welch_of_deals(scores: FloatArray, dealt: Bools, strata: Sequence[Places]) -> Array:
    """Return |t| of each deal and word, (deals, words)."""
    squares = scores**2
    found = []
    for start in range(0, len(dealt), _DEALS):
        deals = dealt[start : start + _DEALS]
        numbers, means, variances = [], [], []
        for places in strata:
            chosen = deals[:, places].astype(np.float32)
            n = np.array([dealt[0, places].sum(), (~dealt[0, places]).sum()], np.float64)
            sums, products = (_of_both(chosen, each[places]) for each in (scores, squares))
            mean = sums / n[:, None, None]
            numbers.append(n)
            means.append(mean)
            variances.append(np.maximum(products - n[:, None, None] * mean**2, 0) / (n - 1)[:, None, None])
        t, _ = welch(Summary(np.array(numbers), np.array(means), np.array(variances)))
        found.append(np.abs(t))
    return np.concatenate(found)


def _of_both(chosen: FloatArray, values: FloatArray) -> Array:
    """Sums of values (n, m) over those chosen and over the others, (2, deals, m)."""
    of_a = (chosen @ values).astype(np.float64)
    return np.stack([of_a, values.sum(0, dtype=np.float64) - of_a])


def energy_test(rows: FloatArray, dealt: Bools, strata: Sequence[Places]) -> tuple[float, float]:
    """Return the energy distance of two sides' rows (n, d), and its p among the ways to deal (Szekely and Rizzo 2013).

    It is 2 E|a - b| - E|a - a'| - E|b - b'| >= 0, and 0 only where both sides are alike in everything. Distances are taken
    within strata, and joined in proportion to nA nB / (nA + nB).
    """
    total, weights = np.zeros(len(dealt)), 0.0
    for places in strata:
        part = rows[places].astype(np.float64)
        squares = (part**2).sum(1)
        distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * part @ part.T, 0)).astype(np.float32)
        np.fill_diagonal(distances, 0)
        chosen = dealt[:, places]
        a, b = int(chosen[0].sum()), int((~chosen[0]).sum())
        weight = a * b / (a + b)
        for start in range(0, len(dealt), _DEALS):
            signed = np.where(chosen[start : start + _DEALS], np.float32(1 / a), np.float32(-1 / b))
            total[start : start + _DEALS] -= weight * ((signed @ distances) * signed).sum(1, dtype=np.float64)
        weights += weight
    reached = np.count_nonzero(total[1:] >= total[0] * (1 - _ROUNDING))
    return float(total[0] / weights), (1 + reached) / len(dealt)
