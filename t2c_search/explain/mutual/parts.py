"""The parts of what an image shows: its foreground, and the foreground in pieces that look alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.ndimage import label

from t2c_search.types import FloatArray, unit_rows

Mask = npt.NDArray[np.bool_]
Grid = tuple[int, int]

PARTS = 5
"""Pieces of a foreground, as in the paper."""
_ROUNDS = 10  # starts of k-means, the best of which is kept


def fiedler_vector(features: FloatArray) -> npt.NDArray[np.float64]:
    """Return the Fiedler vector (n,) of the affinity f f' of n places' features (n, d), unit rows, negatives at zero.

    It is the second eigenvector of D - W against D, the relaxed normalised cut (Shi and Malik, TPAMI 2000): the same sign
    where places go together.
    """
    rows = unit_rows(features.astype(np.float64))
    affinity = np.maximum(rows @ rows.T, 0)
    degrees = np.maximum(affinity.sum(1), 1e-9)
    scaled = affinity / np.sqrt(np.outer(degrees, degrees))
    _, vectors = eigh(scaled, subset_by_index=(len(scaled) - 2, len(scaled) - 2))
    found: npt.NDArray[np.float64] = vectors[:, 0] / np.sqrt(degrees)
    return found


def foreground(features: FloatArray, grid: Grid) -> Mask:
    """Return which of a grid's places (n,) show the main thing: the largest connected piece of one side of the Fiedler cut.

    Of the two sides it is the one that has less of the picture's border, by the share of the border's places less the share of
    all places; a picture of one place, or without a cut, is all foreground.
    """
    if len(features) < 2:
        return np.ones(len(features), bool)
    side = (fiedler_vector(features) > 0).reshape(grid)
    if side.all() or not side.any():
        return np.ones(len(features), bool)
    border = np.ones(grid, bool)
    border[1:-1, 1:-1] = False
    if side[border].mean() > side.mean():
        side = ~side
    pieces, _ = label(side)
    largest = np.bincount(pieces[side]).argmax()
    found: Mask = (pieces == largest).ravel()
    return found


def divide(features: Sequence[FloatArray], parts: int) -> list[npt.NDArray[np.intp]]:
    """Divide the foregrounds of several images into the same parts, by k-means of their places' features, unit rows.

    ``features`` are (n_i, d) an image; the result has a part's number, below ``parts``, for each place of each image.
    """
    from sklearn.cluster import KMeans

    rows = unit_rows(np.concatenate(features))
    most = min(parts, len(np.unique(rows, axis=0)))
    numbers = KMeans(most, n_init=_ROUNDS, random_state=0).fit(rows).labels_.astype(np.intp)
    return np.split(numbers, np.cumsum([len(each) for each in features])[:-1])
