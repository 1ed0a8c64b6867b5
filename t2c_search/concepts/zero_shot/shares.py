"""What is known of classes' shares among the images."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp, softmax
from scipy.stats import chi2

from t2c_search.query.planning.calibration import Array

_STEPS = 2000
_SETTLED = 1e-7  # of a share: far below one image
_SURE = 0.95


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
