"""Calibration needs no scan, and says how sure its percentiles are."""

from __future__ import annotations

import numpy as np

from t2c_search.query.calibration import Calibration, cosines
from t2c_search.query.tail import rank_at, value_at
from t2c_search.statistics import VectorStatistics

from .worlds import ClusteredWords, point_id


def made(count: int, sample: int) -> tuple[np.ndarray, Calibration, np.ndarray]:
    words = ClusteredWords(32)
    rows = words.images(count)
    statistics = VectorStatistics(32, sample)
    statistics.add([point_id(number) for number in range(count)], rows)
    return rows, Calibration(statistics), words.embed("dog")


def test_z_scores_are_those_of_a_full_scan():
    rows, calibration, text = made(2000, 100)
    axis = calibration.axis(3 * text)
    scanned = cosines(rows, [axis])[:, 0]
    np.testing.assert_allclose(axis.z(scanned), (scanned - scanned.mean()) / scanned.std(), atol=1e-9)
    np.testing.assert_allclose(axis.cosine(2.0), scanned.mean() + 2 * scanned.std())


def test_percentiles_of_a_sample_come_with_an_interval_and_those_of_everything_are_exact():
    for sample in (500, 4096):
        rows, calibration, text = made(4000, sample)
        axis = calibration.axis(text)
        ordered = np.sort(cosines(rows, [axis])[:, 0])[::-1]
        found = calibration.top(axis, 5)
        assert found.low <= ordered[199] <= found.high
        if sample > 4000:
            assert found.low == found.value == found.high == ordered[199]
        else:
            assert found.low < found.value < found.high


def test_a_collection_of_equal_images_has_no_deviation_to_speak_of():
    rows, _, text = made(100, 10)
    statistics = VectorStatistics(32)
    statistics.add([point_id(0), point_id(1)], np.repeat(rows[:1], 2, axis=0))
    axis = Calibration(statistics).axis(text)
    assert abs(axis.z(cosines(rows[:1], [axis])[:, 0])[0]) < 1e-3


def test_equal_images_score_equal_wherever_they_stand_in_a_batch():
    rows, calibration, text = made(300, 100)
    axes = [calibration.axis(text), calibration.axis(text[::-1])]
    whole = cosines(rows, axes)
    assert all((cosines(rows[at : at + 7], axes) == whole[at : at + 7]).all() for at in range(0, 290, 13))


def test_the_tail_of_a_sample_foretells_what_a_larger_one_reaches():
    values = np.sort(np.random.default_rng(0).exponential(size=400_000))[::-1]
    sample = np.sort(np.random.default_rng(1).exponential(size=1000))[::-1]
    assert abs(value_at(sample, 0.05) - values[20]) < 2  # in units of e-fold
    assert np.isclose(rank_at(sample, value_at(sample, 0.05)), 0.05)
    assert rank_at(sample, float(sample[99])) == 100
    assert value_at(sample, 100) == sample[99]
