"""Numbers that no file should have stop nothing, and vectors without a direction are never stored."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from t2c_search.sources import list_images
from t2c_search.sources.addresses import INT64, _remote_stat
from t2c_search.stores.protocol import VectorStore
from tests.indexing.conftest import photos, store
from tests.indexing.support import TinyEncoder, contents, index

__all__ = ["photos", "store"]

YEAR_2300 = int(datetime(2300, 1, 1, tzinfo=UTC).timestamp())


def test_a_file_dated_2300_is_indexed_and_unchanged_after_that(photos: list[Path], store: VectorStore) -> None:
    os.utime(photos[0], (YEAR_2300, YEAR_2300))
    if photos[0].stat().st_mtime_ns < INT64.stop:
        pytest.skip("this file system has no such dates")
    assert index(list_images([photos[0].parent]), store).indexed == len(photos)
    assert contents(store)[photos[0].as_posix()][0]["mtime_ns"] == INT64.stop - 1
    assert index(list_images([photos[0].parent]), store).unchanged == len(photos)


@pytest.mark.parametrize(
    "moment", [1e30, -1e30, float("nan"), "2300-01-01", "yesterday", datetime(9999, 1, 1, tzinfo=UTC)]
)
def test_a_remote_file_of_any_date_is_listed(moment: object) -> None:
    assert _remote_stat({"size": 1, "mtime": moment}).mtime_ns in INT64


class Odd(TinyEncoder):
    """Gives the first image of each batch a vector of its own."""

    row: float

    def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
        rows = super().encode_images(batch)
        rows[0] = self.row
        return rows


@pytest.mark.parametrize("row", [0.0, 1e-30, 3e38, float("inf"), float("nan")])
def test_a_vector_without_a_direction_is_a_failure(photos: list[Path], store: VectorStore, row: float) -> None:
    encoder = Odd()
    encoder.row = row
    report = index(list_images(photos), store, encoder=lambda: encoder)
    assert [failure.path for failure in report.failures] == [photos[0].as_posix()]
    assert "the model gave it a vector" in report.failures[0].reason
    found = np.array([vector for _, vector in contents(store).values()])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
