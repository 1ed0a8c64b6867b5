"""Pictures unlike all others: far from the mean in the collection's own geometry, and from their nearest too."""

from __future__ import annotations

import numpy as np

from t2c_search.concepts.audit.findings import Finding, Floats, figures, robust_z
from t2c_search.concepts.audit.neighbours import Neighbours
from t2c_search.concepts.audit.reading import Chosen, Known

FAR = 4.0
"""Robust standard deviations of the logarithm of the distance from which a picture is an outlier."""


def find_outliers(chosen: Chosen, known: Known, near: Neighbours) -> list[Finding]:
    """Return the images whose Mahalanobis distance (with a shrunk covariance) is far above the collection's usual one.

    ``other`` is the nearest image, ``nearest`` the cosine with it.
    """
    distance = _distances(chosen, known)
    z = robust_z(np.log(np.maximum(distance, 1e-12)))
    return [
        Finding(
            "outlier",
            0,
            round(float(z[at]), 3),
            known.ids[at],
            other=known.ids[near.places[at, 0]] if near.places[at, 0] >= 0 else "",
            figures=figures(distance=distance[at], usual=np.median(distance), nearest=near.cosines[at, 0]),
        )
        for at in np.flatnonzero(z >= FAR)
    ]


def _distances(chosen: Chosen, known: Known) -> Floats:
    """Return each image's distance from the mean (n,)."""
    if known.rows is not None:
        lengths: Floats = np.linalg.norm(known.rows, axis=1).astype(np.float64)
        return lengths
    found = np.full(len(known.ids), np.nan)
    at = {point_id: place for place, point_id in enumerate(known.ids)}
    for points in chosen.read((known.vector,), ()):
        there = [row for row, point_id in enumerate(points.ids) if point_id in at]
        placed = known.geometry.place(points.vectors[known.vector][there])
        found[[at[points.ids[row]] for row in there]] = np.linalg.norm(placed, axis=1)
    return found
