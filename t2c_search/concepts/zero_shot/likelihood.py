"""How sure a class is: temperature and biases by maximum likelihood on labelled images."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from t2c_search.concepts.zero_shot.rule import Indices, Rule
from t2c_search.query.planning.calibration import Array
from t2c_search.types import FloatArray

FOLDS = 5
_SLOPES = (1e-3, 1e3)  # per spread of an image's scores: labels that one class always wins would take it to infinity


def fit_rule(cosines: FloatArray, labels: Indices) -> Rule:
    """Return the rule under which the labels (n,) of n images are most likely, by their cosines (n, k).

    log p(j | image) = log softmax of slope * cosine_j + bias_j, which is concave in both. A class's bias has a normal prior
    of deviation 1 in log odds, the weight of about one image: without it, a class without images had minus infinity.
    """
    spread = float(cosines.std(axis=1).mean()) or 1.0
    scaled = cosines.astype(np.float64) / spread
    rows = np.arange(len(labels))
    wanted = np.zeros_like(scaled)
    wanted[rows, labels] = 1

    def loss(point: Array) -> tuple[float, Array]:
        log_p = log_softmax(point[0] * scaled + point[1:], axis=1)
        excess = np.exp(log_p) - wanted
        gradient = np.concatenate([[np.vdot(excess, scaled)], excess.sum(0) + point[1:]])
        value = -log_p[rows, labels].sum() + 0.5 * point[1:] @ point[1:]
        return float(value) / len(rows), gradient / len(rows)

    start = np.concatenate([[1.0], np.zeros(cosines.shape[1])])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[_SLOPES] + [(None, None)] * cosines.shape[1]).x
    slope = float(found[0]) / spread
    return Rule(found[1:] / slope, slope)
