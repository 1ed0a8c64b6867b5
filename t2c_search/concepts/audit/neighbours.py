"""Each image's nearest others, by the cosine in the collection's own geometry."""

from __future__ import annotations

from itertools import islice

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.audit.reading import Chosen, Known
from t2c_search.types import CLIP, FloatArray, VectorQuery, unit_rows

NEAREST = 10
"""Nearest images looked at: of a picture that is there more often, the others stand for it."""
_BLOCK = 1024
_QUERIES = 64
Rows = npt.NDArray[np.int32]


class Neighbours:
    """Of n images the ``NEAREST`` others: places (n, k) among all, -1 where there are fewer, and cosines (n, k), best first."""

    def __init__(self, places: Rows, cosines: FloatArray) -> None:
        self.places = places
        self.cosines = cosines


def find_neighbours(chosen: Chosen, known: Known) -> Neighbours:
    """Compare every pair where the rows are held; else take those that the store's index finds near in CLIP space."""
    shape = (len(known.ids), NEAREST)
    found = Neighbours(np.full(shape, -1, np.int32), np.full(shape, -1, np.float32))
    if known.rows is not None:
        _compare_all(unit_rows(known.rows), found)
    else:
        _ask_index(chosen, known, found)
    return found


def _compare_all(rows: FloatArray, found: Neighbours) -> None:
    most = min(NEAREST, len(rows) - 1)
    for top in range(0, len(rows), _BLOCK):
        cosines = rows[top : top + _BLOCK] @ rows.T
        own = np.arange(len(cosines))
        cosines[own, top + own] = -np.inf
        _keep_best(cosines, np.broadcast_to(np.arange(len(rows), dtype=np.int32), cosines.shape), most, found, top)


def _keep_best(cosines: FloatArray, places: Rows, most: int, found: Neighbours, top: int) -> None:
    best = np.argpartition(-cosines, most - 1, axis=1)[:, :most] if most else np.empty((len(cosines), 0), np.intp)
    ordered = np.take_along_axis(best, np.argsort(-np.take_along_axis(cosines, best, 1), axis=1, kind="stable"), 1)
    found.places[top : top + len(cosines), :most] = np.take_along_axis(places, ordered, 1)
    found.cosines[top : top + len(cosines), :most] = np.take_along_axis(cosines, ordered, 1)


def _ask_index(chosen: Chosen, known: Known, found: Neighbours) -> None:
    at = {point_id: place for place, point_id in enumerate(known.ids)}
    for points in chosen.read((CLIP,), ()):
        waiting = iter(zip(points.ids, points.vectors[CLIP], strict=True))
        while batch := list(islice(waiting, _QUERIES)):
            asked = [VectorQuery(row, 2 * NEAREST, with_vectors=(CLIP,)) for _, row in batch]
            for (point_id, row), answer in zip(batch, chosen.searcher.store.search(asked), strict=True):
                others = [rank for rank, each in enumerate(answer.ids) if each != point_id and each in at]
                if others and point_id in at:
                    placed = unit_rows(known.geometry.place(np.vstack([row, answer.vectors[CLIP][others]])))
                    places = np.array([[at[answer.ids[rank]] for rank in others]], np.int32)
                    cosines = (placed[1:] @ placed[0])[None]
                    _keep_best(cosines, places, min(NEAREST, len(others)), found, at[point_id])
