"""What is known of classes' shares among the images: estimated, or given, where each class is to have as many."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp, softmax
from scipy.stats import chi2

from t2c_search.query.planning.calibration import Array

_STEPS = 2000
_SETTLED = 1e-7  # of a share: far below one image
_SURE = 0.95
_COARSE, _FINE = 1.0, 0.02  # of the spread of an image's scores: softness of an assignment, first and last
_COOLING = 0.5
_UNEVEN = 1e-4  # of all images: how far the shares of a balanced assignment may be off


def estimate_shares(log_posteriors: Array, trained: Array) -> Array:
    """Return the classes' shares (k,) among n images, from log posteriors (n, k) that hold where the shares are ``trained``.

    Expectation maximisation: posteriors times the ratio of shares, normalised; their mean is the next estimate (Saerens,
    Latinne and Decaestecker, Neural Computation 2002, eq. 2.8). As many images as there are classes, of the trained shares,
    are counted beside them, so that few images do not lead far, and no share is zero. Where the likelihood ratio does not tell
    the shares from the trained ones (section 2.4 there, at 5 %), they are the trained ones.
    """
    n, k = log_posteriors.shape
    shares, ratios = trained, log_posteriors - np.log(trained)
    for _ in range(_STEPS):
        found = (softmax(ratios + np.log(shares), axis=1).sum(0) + k * trained) / (n + k)
        moved, shares = float(np.abs(found - shares).max()), found
        if moved < _SETTLED:
            break
    gain = 2 * float(logsumexp(ratios + np.log(shares), axis=1).sum() - logsumexp(log_posteriors, axis=1).sum())
    return shares if gain > chi2.ppf(_SURE, k - 1) else trained


def prices(scores: Array, softness: float, start: Array) -> Array:
    """Return what to add to each class's scores (k,) so that softmax((scores + prices) / softness) gives all equal shares.

    The column potentials of entropic optimal transport between n images and k classes with uniform marginals, by Sinkhorn's
    iterations on logarithms, which do not overflow however small ``softness`` is; from ``start`` (k,), to a mean of zero.
    """
    n, k = scores.shape
    found = start
    for _ in range(_STEPS):
        rows = logsumexp((scores + found) / softness, axis=1, keepdims=True)
        columns = logsumexp(scores / softness - rows, axis=0)
        moved = softness * (np.log(n / k) - columns) - found
        off = np.abs(np.exp(found / softness + columns) / n - 1 / k).max()
        found = found + moved
        if off < _UNEVEN / k:
            break
    centred: Array = found - found.mean()
    return centred


def balanced(scores: Array) -> Array:
    """Return what to add to each class's scores (k,) so that every class is the best of equally many of n images (n, k).

    The softness of the assignment is lowered step by step, each from the prices of the one before, until nearly all of an
    image goes to one class.
    """
    spread = float(scores.std(axis=1).mean()) or 1.0
    found = np.zeros(scores.shape[1])
    softness = _COARSE
    while softness > _FINE:
        softness = max(softness * _COOLING, _FINE)
        found = prices(scores, softness * spread, found)
    return found
