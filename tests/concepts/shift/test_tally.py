"""One pass keeps what two would find: sums, counts in bins, a sample; images that are in both streams are left out."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import numpy as np
import pytest

from t2c_search.concepts.shift import tally as tallies
from t2c_search.concepts.shift.sides import apart
from t2c_search.concepts.shift.tally import BINS, REACH, Scale, Tally
from t2c_search.query.planning.calibration import Calibration
from t2c_search.statistics import VectorStatistics
from t2c_search.types import CLIP, FloatArray, Points


def unit(rng: np.random.Generator, n: int, d: int = 12) -> FloatArray:
    rows = rng.normal(size=(n, d)) + 0.5
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def scale_of(rows: FloatArray, words: FloatArray) -> Scale:
    statistics = VectorStatistics(rows.shape[1])
    statistics.add([str(uuid.UUID(int=each)) for each in range(len(rows))], rows)
    return Scale.of([Calibration(statistics)], words)


def test_scores_are_z_scores_about_the_centre() -> None:
    rng = np.random.default_rng(0)
    rows, words = unit(rng, 500), unit(rng, 30)
    scale = scale_of(rows, words)
    z = scale.centred(rows) @ scale.directions.T
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(0), 1, rtol=1e-4)
    np.testing.assert_allclose(scale.sd, (rows @ words.T).std(0), rtol=1e-4)


def test_two_collections_have_one_centre_by_their_sizes() -> None:
    rng = np.random.default_rng(1)
    rows, words = unit(rng, 300), unit(rng, 5)
    parts = []
    for part in (rows[:100], rows[100:]):
        statistics = VectorStatistics(12)
        statistics.add([str(uuid.UUID(int=each)) for each in range(len(part))], part)
        parts.append(Calibration(statistics))
    np.testing.assert_allclose(Scale.of(parts, words).centre, rows.mean(0), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 97, 5000])
def test_what_is_kept_is_what_all_together_say(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "_ROWS", 256)
    monkeypatch.setattr(tallies, "SAMPLE", 150)
    rng = np.random.default_rng(2)
    rows, words = unit(rng, 1000), unit(rng, 200)
    strata = np.where(rng.random(1000) < 0.3, "x", "y")
    scale = scale_of(rows, words)
    tally = Tally(scale, 0)
    for start in range(0, 1000, batch):
        part = slice(start, start + batch)
        tally.add([str(each) for each in range(1000)[part]], rows[part], strata[part])
    kept = tally.finish()
    z = (scale.centred(rows) @ scale.directions.T).astype(np.float64)
    for name, counted in tally.strata.items():
        own = z[strata == name]
        assert counted.n == len(own)
        np.testing.assert_allclose(counted.total, own.sum(0), atol=1e-3)
        np.testing.assert_allclose(counted.squares, (own**2).sum(0), rtol=1e-5)
        edges = np.linspace(-REACH, REACH, BINS + 1)
        expected = np.array([np.histogram(np.clip(each, -4.999, 4.999), edges)[0] for each in own.T])
        assert np.abs(counted.bins.cumsum(1) - expected.cumsum(1)).max() <= 2  # of those on an edge, by rounding
    assert len(kept) == len(set(kept.ids)) == 150
    places = kept.ids.astype(int)
    np.testing.assert_allclose(kept.rows, scale.centred(rows)[places])
    np.testing.assert_array_equal(kept.strata, strata[places])
    assert 300 < places.mean() < 700  # from all of it, not from its beginning or end


def stream(ids: list[int], rng: np.random.Generator) -> Iterator[Points]:
    at = 0
    while at < len(ids):
        part = ids[at : at + int(rng.integers(1, 9))]
        yield Points([f"{each:05d}" for each in part], [], {CLIP: np.array(part, np.float32)[:, None]})
        at += len(part)


@pytest.mark.parametrize("seed", range(20))
def test_images_in_both_are_left_out_and_counted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (sorted(rng.permutation(60)[: rng.integers(0, 50)].tolist()) for _ in range(2))
    for a_keeps in (False, True):
        seen: tuple[list[str], list[str]] = ([], [])
        left_out = 0
        for side, points, shared in apart(stream(a, rng), stream(b, rng), a_keeps=a_keeps):
            seen[side].extend(points.ids)
            left_out += shared
            assert [int(each) for each in points.ids] == points.vectors[CLIP][:, 0].tolist()
        assert list(map(int, seen[0])) == (a if a_keeps else sorted(set(a) - set(b)))
        assert list(map(int, seen[1])) == sorted(set(b) - set(a))
        assert left_out == (0 if a_keeps else len(set(a) & set(b)))
