"""How a branch ranks images: a concave function of z-scores, whose tangents bound it from above everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from t2c_search.query.planning.calibration import Array

SOFT_THRESHOLD = 1.5
"""Where the log-sigmoid of a z-score bends: on real photos the best of 0.5, 1, 1.5 and 2 sd, with slope 1."""


@dataclass(frozen=True, slots=True)
class Term:
    """One summand: ``weight`` times sign * z of an axis, or times the log-sigmoid of what that exceeds ``bend`` by."""

    axis: int
    sign: float
    weight: float = 1.0
    bend: float | None = None

    def values(self, z: Array) -> Array:
        """Evaluate on (n, m) z-scores."""
        signed = self.sign * z[:, self.axis]
        return self.weight * (signed if self.bend is None else -np.logaddexp(0, self.bend - signed))

    def slope(self, z: Array) -> float:
        """Derivative by its axis at one point (m,)."""
        if self.bend is None:
            return self.weight * self.sign
        excess = self.sign * z[self.axis] - self.bend
        return float(self.weight * self.sign / (1 + np.exp(np.clip(excess, -700, 700))))


@dataclass(frozen=True, slots=True)
class Ranking:
    """A sum of terms, less ``shift``, over ``scale``: standard deviations of the sum over the collection's sample.

    In these units the branches of an OR compare, and a single concept's score is its z-score.
    """

    terms: tuple[Term, ...]
    shift: float = 0.0
    scale: float = 1.0

    def scores(self, z: Array) -> Array:
        """Score (n, m) z-scores, (n,) float64; without terms every score is 0."""
        total = np.zeros(len(z))
        for term in self.terms:
            total = total + term.values(z)
        return (total - self.shift) / self.scale

    def tangent(self, z: Array) -> tuple[Array, float]:
        """Slope (m,) and offset of the affine function that touches the score at a point (m,), and is never below."""
        slope = np.zeros(len(z))
        for term in self.terms:
            slope[term.axis] += term.slope(z)
        slope /= self.scale
        return slope, float(self.scores(z[None])[0] - slope @ z)

    @property
    def linear(self) -> bool:
        """Whether a search for one direction returns images in the order of their scores."""
        return len(self.terms) == 1 and self.terms[0].bend is None

    @property
    def ceiling(self) -> float:
        """What no score exceeds: log-sigmoids stay below 0."""
        return np.inf if any(term.bend is None for term in self.terms) else -self.shift / self.scale

    def standardised(self, sample: Array) -> Ranking:
        """Take shift and scale from (n, m) z-scores of the collection's sample; a single linear term needs neither."""
        if self.linear:
            return Ranking(self.terms, 0.0, self.terms[0].weight)
        if len(sample) < 2 or not self.terms:
            return self
        totals = self.scores(sample)
        return Ranking(self.terms, float(totals.mean()), float(totals.std()) or 1.0)
