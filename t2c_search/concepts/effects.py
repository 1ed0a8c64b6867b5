"""How far two groups of images lie apart along concepts, in standard deviations: Hedges' g."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """What one group's scores come to: its number of images, and for each of v concepts their mean and unbiased variance.

    ``mean`` and ``variance`` are (v,) float64, and ``count`` is one number for all of them.
    """

    count: int
    mean: Array
    variance: Array


def hedges_g(one: Group, other: Group) -> Array:
    """Return Hedges' g (v,) of each concept: how far ``one`` lies above ``other``, in their pooled standard deviation.

    Cohen's d times J(m) = gamma(m/2) / (sqrt(m/2) gamma((m-1)/2)) for m = n1 + n2 - 2 degrees of freedom, which takes the
    bias of small groups away (Hedges 1981, eq. 6e). Where neither group varies, g is 0 for equal means, else infinite; NaN
    with fewer than 3 images in all, or with a group that is empty.
    """
    freedom = one.count + other.count - 2
    if freedom < 1 or not one.count or not other.count:
        return np.full(one.mean.shape, np.nan)
    squares = np.nan_to_num(one.variance) * (one.count - 1) + np.nan_to_num(other.variance) * (other.count - 1)
    apart = one.mean - other.mean
    with np.errstate(divide="ignore", invalid="ignore"):
        d = np.where(apart == 0, 0.0, apart / np.sqrt(squares / freedom))
    found: Array = d * small_sample_factor(freedom)
    return found


def small_sample_factor(freedom: npt.ArrayLike) -> Array:
    """Return J(m) of Hedges 1981, eq. 6e, of numbers of degrees of freedom: 0 for one, near 1 for many."""
    from scipy.special import gammaln

    m = np.asarray(freedom, np.float64)
    more = np.maximum(m, 2)
    found: Array = np.where(m < 2, 0.0, np.exp(gammaln(more / 2) - gammaln((more - 1) / 2)) / np.sqrt(more / 2))
    return found
