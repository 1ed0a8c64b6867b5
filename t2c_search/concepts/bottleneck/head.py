"""Linear heads on concepts: an L1 path chooses the concepts, a ridge weighs those that were chosen.

Each class is told from the rest by a logistic regression of its own, so that a class's weights can be read by themselves.
L1 (liblinear's coordinate descent) both chooses and shrinks, and shrunk weights lean to the more frequent class: so they are
fitted again on the concepts chosen (the relaxed lasso).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.bottleneck.sample import Labels

Array = npt.NDArray[np.float64]

COVERED = 0.95
"""Share of the absolute contributions to a decision that its contributing concepts cover."""
_STRENGTHS = np.geomspace(1.2, 1000, 30)
"""Of 1 / L1, in units of what lets the first concept in; so many that each NCC is come near to."""
_WEIGHED = 1.0  # of 1 / ridge, on standardised scores
_FREE = 10.0  # liblinear penalises the intercept, the less the larger this is


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Weights (c, k) of k concepts, and biases (c,): a class's logit is that of the class against all others."""

    weights: Array
    bias: Array

    def logits(self, scores: npt.NDArray[np.floating]) -> Array:
        """Map concept scores (n, k) to logits (n, c)."""
        logits: Array = scores @ self.weights.T + self.bias
        return logits

    def contributing(self, scores: npt.NDArray[np.floating]) -> float:
        """Return the NCC: how many concepts make up 95 % of the absolute contributions to the class chosen, on average."""
        chosen = self.logits(scores).argmax(1)
        parts = -np.sort(-np.abs(scores * self.weights[chosen]), axis=1)
        within = np.cumsum(parts, axis=1)
        total = within[:, -1:]
        return float(((within < COVERED * total).sum(1) + (total[:, 0] > 0)).mean())


def sparse_path(scores: npt.NDArray[np.floating], labels: Labels, most: float) -> Iterator[Head]:
    """Yield heads of ever more concepts, the first of none, as long as their NCC is at most ``most``.

    ``scores`` (n, k) are standardised; ``labels`` (n,) are 0 to c - 1, each there at least once.
    """
    targets = [labels == 1] if labels.max() == 1 else [labels == each for each in range(labels.max() + 1)]
    chosen: list[npt.NDArray[np.intp]] = [np.empty(0, np.intp)] * len(targets)
    rows = [_weigh(scores, target, none) for target, none in zip(targets, chosen, strict=True)]
    yield _head(rows)
    entries = [1 / max(float(np.abs(scores.T @ (target - target.mean())).max()), 1e-12) for target in targets]
    for strength in _STRENGTHS:
        for at, (target, entry) in enumerate(zip(targets, entries, strict=True)):
            now = _choose(scores, target, float(entry * strength))
            if not np.array_equal(now, chosen[at]):
                chosen[at], rows[at] = now, _weigh(scores, target, now)
        head = _head(rows)
        if head.contributing(scores) > most:
            return
        yield head


def _choose(scores: npt.NDArray[np.floating], target: npt.NDArray[np.bool_], strength: float) -> npt.NDArray[np.intp]:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(
        l1_ratio=1, solver="liblinear", C=strength, intercept_scaling=_FREE, tol=1e-3, max_iter=1000, random_state=0
    ).fit(scores, target)
    return np.flatnonzero(fitted.coef_[0])


def _weigh(
    scores: npt.NDArray[np.floating], target: npt.NDArray[np.bool_], chosen: npt.NDArray[np.intp]
) -> tuple[Array, float]:
    """Weigh the concepts chosen; without any, the bias is the class's log odds."""
    from sklearn.linear_model import LogisticRegression

    weights = np.zeros(scores.shape[1])
    if not len(chosen):
        share = float(target.mean())
        return weights, float(np.log(share / (1 - share)))
    fitted = LogisticRegression(C=_WEIGHED, solver="newton-cholesky").fit(scores[:, chosen], target)
    weights[chosen] = fitted.coef_[0]
    return weights, float(fitted.intercept_[0])


def _head(rows: list[tuple[Array, float]]) -> Head:
    """Put classes together; where one was told from one other, its opposite is the other."""
    weights, bias = np.array([row for row, _ in rows]), np.array([each for _, each in rows])
    return Head(np.r_[-weights, weights], np.r_[-bias, bias]) if len(rows) == 1 else Head(weights, bias)
