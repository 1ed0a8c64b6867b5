"""How many images match, from a sample: an estimate with its interval, whatever the collection's size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from t2c_search.filters import AnyOf, Filter
from t2c_search.query.planning.calibration import NORMAL_95, Calibration
from t2c_search.query.planning.planner import Branch
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, Points

SAMPLED_POINTS = 4096
"""Points drawn when there is a filter; the standard error of a share of one half is then 0.8 points."""
_BATCH = 256


def estimate_count(store: VectorStore, branches: Sequence[Branch], calibration: Calibration) -> tuple[int, int, int]:
    """Estimate how many points pass a branch: number, and 95 % interval (Wilson 1927)."""
    if all(branch.where is None and branch.factors is None for branch in branches):
        sample, total = Points([""] * len(calibration.sample), vectors={CLIP: calibration.sample}), calibration.count
        passed = np.logical_or.reduce([branch.passes(branch.cosines(sample)) for branch in branches])
    else:
        passed, total = _filtered_sample(store, branches)
    return _wilson(int(passed.sum()), len(passed), total)


def _filtered_sample(store: VectorStore, branches: Sequence[Branch]) -> tuple[npt.NDArray[np.bool_], int]:
    """Sample the points that match any filter; tell which of them pass a branch, and count those points.

    Ids are hashes, so the points of lowest id are a uniform sample.
    """
    filters = [branch.where for branch in branches]
    some = [condition for condition in filters if condition is not None]
    union = None if len(some) < len(filters) else some[0] if len(set(some)) == 1 else AnyOf(parts=tuple(some))
    vectors = tuple(dict.fromkeys((CLIP, *(name for branch in branches for name in branch.vectors))))
    ids: list[str] = []
    passed = []
    for batch in store.scan(where=union, vectors=vectors, payload=False, batch_size=_BATCH):
        ids += batch.ids
        passed.append(np.stack([branch.passes(branch.cosines(batch)) for branch in branches]))
        if len(ids) >= SAMPLED_POINTS:
            break
    if not ids:
        return np.zeros(0, bool), store.count(union)
    matching = {condition: _matching(store, condition, ids) for condition in set(filters) - {union}}
    everything = np.ones(len(ids), bool)
    matched = np.stack([matching.get(condition, everything) for condition in filters])
    found: npt.NDArray[np.bool_] = np.logical_or.reduce(np.concatenate(passed, axis=1) & matched, axis=0)
    return found, store.count(union)


def _matching(store: VectorStore, condition: Filter | None, ids: list[str]) -> npt.NDArray[np.bool_]:
    """Tell which of these ids, ascending, match: those that a scan of the matching points meets on its way."""
    found: set[str] = set()
    for batch in store.scan(where=condition, payload=False, batch_size=_BATCH):
        found.update(batch.ids)
        if batch.ids[-1] >= ids[-1]:
            break
    return np.array([point in found for point in ids], bool)


def _wilson(hits: int, size: int, total: int) -> tuple[int, int, int]:
    """Scale a share of a sample to the whole; a sample of the whole is exact, and one of nothing says nothing."""
    if size >= total:
        return hits, hits, hits
    if not size:
        return 0, 0, total
    share, square = hits / size, NORMAL_95**2
    centre = (share + square / (2 * size)) / (1 + square / size)
    reach = NORMAL_95 / (1 + square / size) * np.sqrt(share * (1 - share) / size + square / (4 * size * size))
    low, high = int(np.floor((centre - reach) * total)), int(np.ceil((centre + reach) * total))
    misses = size - hits  # what was seen is certain
    return round(share * total), max(low, hits), min(high, total - misses)
