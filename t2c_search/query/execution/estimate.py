"""How many images match, from a sample: an estimate with its interval, whatever the collection's size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from t2c_search.filters import AnyOf, Filter
from t2c_search.query.planning.calibration import NORMAL_95, Calibration, cosines
from t2c_search.query.planning.planner import Branch
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, FloatArray

SAMPLED_POINTS = 4096
"""Points drawn when there is a filter; the standard error of a share of one half is then 0.8 points."""
_BATCH = 1024


def estimate_count(store: VectorStore, branches: Sequence[Branch], calibration: Calibration) -> tuple[int, int, int]:
    """Estimate how many points pass a branch: number, and 95 % interval (Wilson 1927)."""
    if all(branch.where is None for branch in branches):
        rows, total = calibration.sample, calibration.count
        passed = _pass_any(rows, branches, [np.ones(len(rows), bool)] * len(branches))
    else:
        rows, total, matching = _filtered_sample(store, [branch.where for branch in branches])
        passed = _pass_any(rows, branches, matching) if len(rows) else np.zeros(0, bool)
    return _wilson(int(passed.sum()), len(rows), total)


def _filtered_sample(
    store: VectorStore, filters: Sequence[Filter | None]
) -> tuple[FloatArray, int, list[npt.NDArray[np.bool_]]]:
    """Sample the points that match any filter, count those points, and tell which of the sample match which filter.

    Ids are hashes, so the points of lowest id are a uniform sample.
    """
    some = [condition for condition in filters if condition is not None]
    union = None if len(some) < len(filters) else some[0] if len(set(some)) == 1 else AnyOf(parts=tuple(some))
    batches = islice(
        store.scan(where=union, vectors=(CLIP,), payload=False, batch_size=_BATCH), SAMPLED_POINTS // _BATCH
    )
    drawn = list(batches)
    if not drawn:
        return np.empty((0, 0), np.float32), store.count(union), []
    ids = [point for batch in drawn for point in batch.ids]
    matching = {condition: _matching(store, condition, ids) for condition in set(filters) - {union}}
    everything = np.ones(len(ids), bool)
    rows = np.concatenate([batch.vectors[CLIP] for batch in drawn])
    return rows, store.count(union), [matching.get(condition, everything) for condition in filters]


def _matching(store: VectorStore, condition: Filter | None, ids: list[str]) -> npt.NDArray[np.bool_]:
    """Tell which of these ids, ascending, match: those that a scan of the matching points meets on its way."""
    found: set[str] = set()
    for batch in store.scan(where=condition, payload=False, batch_size=_BATCH):
        found.update(batch.ids)
        if batch.ids[-1] >= ids[-1]:
            break
    return np.array([point in found for point in ids], bool)


def _pass_any(
    rows: FloatArray, branches: Sequence[Branch], matching: Sequence[npt.NDArray[np.bool_]]
) -> npt.NDArray[np.bool_]:
    passed = np.zeros(len(rows), bool)
    for branch, matches in zip(branches, matching, strict=True):
        cosine = cosines(rows, branch.axes) if branch.axes else np.empty((len(rows), 0))
        passed |= matches & branch.passes(cosine)
    return passed


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
