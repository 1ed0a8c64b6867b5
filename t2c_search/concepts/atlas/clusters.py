"""Groups of images that are alike, by k-means on what sets each image apart from the average one."""

from __future__ import annotations

from math import sqrt
from typing import cast

import numpy as np
import numpy.typing as npt

from t2c_search.types import FloatArray

MOST_BY_RULE = 24
"""Clusters that are made unasked: about as many colours as people tell apart, and names as they read."""
MOST_CLUSTERS = 200
_STARTS = 3  # of k-means, of which the best is taken
_LEAST_LENGTH = 1e-9


def number_for(images: int) -> int:
    """Return how many clusters are made of so many images unasked: sqrt(images / 2), at least 2 and at most 24.

    The width of silhouettes, which is to tell what number is right, tells none here: on drawn scenes and on photographs it
    stays within .05 and .07 from 4 clusters to 64. CLIP spaces are continua; so the number is one for reading.
    """
    return max(1, min(max(2, round(sqrt(images / 2))), MOST_BY_RULE, images))


def set_apart(rows: FloatArray, mean: FloatArray) -> FloatArray:
    """Return (n, d) rows less the collection's mean, of length 1: what all images share would hide what each one shows."""
    apart = rows - mean
    unit: FloatArray = apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), _LEAST_LENGTH)
    return unit


def find_centres(rows: FloatArray, number: int, seed: int) -> FloatArray:
    """Return the centres (k, d) of at most ``number`` clusters of (n, d) rows that were ``set_apart``."""
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(min(number, len(rows)), random_state=seed, n_init=_STARTS)
    return cast(FloatArray, model.fit(rows).cluster_centers_.astype(np.float32))


def nearest_centre(rows: FloatArray, centres: FloatArray) -> npt.NDArray[np.int32]:
    """Return for each of (n, d) rows the number of the centre it lies nearest to, (n,)."""
    far = (centres.astype(np.float64) ** 2).sum(1) - 2 * np.einsum("nd,kd->nk", rows, centres, optimize=True)
    nearest: npt.NDArray[np.int32] = far.argmin(1).astype(np.int32)
    return nearest
