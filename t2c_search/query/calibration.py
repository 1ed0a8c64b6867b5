"""What a cosine means in one collection: z-scores and percentiles of any concept, from kept statistics, with no scan.

Let x be a unit vector of the collection, m and S the mean and covariance of them all. The cosine t.x of a concept t has
mean t.m and variance t'St, so that z(x) = (t.x - t.m) / sqrt(t'St) is affine in x and says the same for every concept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.statistics import VectorStatistics
from t2c_search.types import FloatArray

DEFAULT_SD = 1.1
"""What a bare concept must reach in ``mine`` and ``count``, in standard deviations.

Chosen by measurement (``benchmarks.constraints``): over the 20 most frequent nouns of real captions its mean F1 is 87 %
of what each noun's own best threshold gives. Rarer concepts want more, as far as 2 sd: mark examples for those.
"""
PLANNING_ROWS = 1024
"""Rows of the sample that plans are made from: what a plan guesses, the executor verifies."""
_LEAST_SD = 1e-6  # a collection whose images are all alike: every z is 0 rather than noise blown up
_NORMAL_95 = 1.96

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """A concept in one collection: unit direction (d,) float64, and mean and standard deviation of its cosines.

    ``covariance`` (d,) is that of its z-score with the vectors; ``sample`` (n,) are z-scores of some of them, to plan by.
    """

    direction: Array
    mean: float
    sd: float
    covariance: Array
    sample: Array

    def z(self, cosines: Array) -> Array:
        """Map cosines to standard deviations above the collection's mean."""
        return (cosines - self.mean) / self.sd

    def cosine(self, z: float) -> float:
        """Map standard deviations to a cosine."""
        return self.mean + z * self.sd


@dataclass(frozen=True, slots=True)
class Percentile:
    """The cosine that the highest-scoring share of a collection reaches, with its 95 % confidence interval."""

    value: float
    low: float
    high: float


class Calibration:
    """Mean, covariance and sample of a collection's vectors, in double precision."""

    def __init__(self, statistics: VectorStatistics) -> None:
        self.count = statistics.count
        self.mean: Array = statistics.mean
        self.covariance: Array = statistics.covariance
        self.sample: FloatArray = statistics.sample
        self.planning: Array = self.sample[:PLANNING_ROWS].astype(np.float64)

    def axis(self, direction: Array) -> Axis:
        """Calibrate a direction (d,) of any length."""
        unit = direction / np.linalg.norm(direction)
        covariance = np.einsum("ij,j->i", self.covariance, unit)  # small as they are, BLAS would wake all its threads
        mean, variance = float(unit @ self.mean), float(unit @ covariance)
        sd = max(variance, _LEAST_SD**2) ** 0.5
        sample = (np.einsum("nd,d->n", self.planning, unit) - mean) / sd
        return Axis(unit, mean, sd, covariance / sd, sample)

    def top(self, axis: Axis, percent: float) -> Percentile:
        """Find what the top ``percent`` of the collection reach: an order statistic of its sample, normal interval."""
        size, share = len(self.sample), percent / 100
        if not size:
            return Percentile(axis.mean, axis.mean, axis.mean)
        ordered = np.sort(cosines(self.sample, [axis])[:, 0])[::-1]
        rank = int(np.ceil(share * size))
        unseen = 1 - size / max(self.count, size)  # a sample of everything has no error
        spread = _NORMAL_95 * np.sqrt(share * (1 - share) * size * unseen)
        low, high = int(np.ceil(rank + spread)), int(np.floor(rank - spread))
        return Percentile(*(float(ordered[min(max(at, 1), size) - 1]) for at in (rank, low, high)))


def cosines(vectors: FloatArray, axes: Sequence[Axis]) -> Array:
    """Map (n, d) unit rows to their cosines with m axes, (n, m) float64.

    Not a matrix product: its rounding depends on where a row stands in the batch, and equal images must score equal,
    whichever search found them.
    """
    if not axes:
        return np.empty((len(vectors), 0))
    found: Array = np.einsum("nd,md->nm", vectors.astype(np.float64), np.stack([axis.direction for axis in axes]))
    return found
