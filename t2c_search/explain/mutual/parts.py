"""The parts of what an image shows: its foreground, and the foreground in pieces that look alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.ndimage import label

from t2c_search.types import FloatArray, unit_rows

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
Grid = tuple[int, int]

_TINY = 1e-9
_STARTS = 5  # of k-means, the best of which is kept


def fiedler_vector(features: FloatArray) -> npt.NDArray[np.float64]:
    """Return the Fiedler vector (n,) of the affinity f f' of n places' features (n, d), n > 1; negative affinities are zero.

    That is the second eigenvector of D - W against D, the relaxed normalised cut (Shi and Malik, TPAMI 2000), here by the
    second largest of W scaled by both degrees. Places on one side of the cut have one sign.
    """
    rows = features.astype(np.float64)
    affinity = np.maximum(rows @ rows.T, 0)
    degrees = affinity.sum(1)
    scale = 1 / np.sqrt(degrees + _TINY * degrees.mean() + np.finfo(float).tiny)
    second = len(rows) - 2
    _, vectors = eigh(affinity * np.outer(scale, scale), subset_by_index=(second, second))
    found: npt.NDArray[np.float64] = vectors[:, 0] * scale
    return found


def foreground(features: FloatArray, grid: Grid) -> Mask:
    """Return which of a grid's places (n,) show the main thing: the largest connected piece of one side of the Fiedler cut.

    It is the side whose features (n, d) differ more from the picture's mean: ground is what most of a picture is like. That
    holds for CNNs and transformers, in drawn scenes and photographs; being away from the border, being small, long features
    and the vector's extreme each fail on some (``benchmarks.explanations.knowledge``). A picture without a cut is all foreground.
    """
    whole = np.ones(len(features), bool)
    if len(features) < 2:
        return whole
    side = fiedler_vector(features) > 0
    if side.all() or not side.any():
        return whole
    distance = ((features - features.mean(0)) ** 2).sum(1)
    if distance[side].mean() < distance[~side].mean():
        side = ~side
    pieces, _ = label(side.reshape(grid))
    found: Mask = pieces.ravel() == np.bincount(pieces.ravel()[side]).argmax()
    return found


def divide(features: Sequence[FloatArray], parts: int) -> list[Indices]:
    """Divide the foregrounds of several images into the same parts, by k-means of their places' features as unit rows.

    ``features`` are (n_i, d) an image; the result has a part's number, below ``parts``, for each place of each image.
    """
    from sklearn.cluster import KMeans

    rows = unit_rows(np.concatenate(features))
    most = min(parts, len(np.unique(rows, axis=0)))
    numbers = KMeans(most, n_init=_STARTS, random_state=0).fit(rows).labels_.astype(np.intp)
    return np.split(numbers, np.cumsum([len(each) for each in features])[:-1])
