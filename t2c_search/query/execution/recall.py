"""What the approximate index finds of the truth, measured on the collection that it serves."""

from __future__ import annotations

import numpy as np

from t2c_search.query.execution.topk import LEAST_EF
from t2c_search.query.planning.calibration import Calibration
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import VectorQuery

_DIRECTIONS, _IMAGES, _TOP = 50, 3, 20


def measure_recall(store: VectorStore, calibration: Calibration) -> float:
    """Share of the true top 20 that the index finds, over 50 directions, each what a few of the sample have in common.

    An image's own vector would flatter the index: texts lie further from everything, and what they find is scattered.
    """
    rng = np.random.default_rng(0)
    drawn = calibration.sample[rng.integers(0, len(calibration.sample), (_DIRECTIONS, _IMAGES))]
    shared = drawn.mean(axis=1) - calibration.mean
    rows = (shared / np.maximum(np.linalg.norm(shared, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    true = store.search([VectorQuery(row, _TOP, exact=True) for row in rows])
    found = store.search([VectorQuery(row, _TOP, hnsw_ef=LEAST_EF) for row in rows])
    shares = [len(set(one.ids) & set(other.ids)) / len(one) for one, other in zip(true, found, strict=True)]
    return float(np.mean(shares))
