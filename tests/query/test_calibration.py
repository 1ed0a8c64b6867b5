"""Calibration needs no scan, and says how sure its percentiles are."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from t2c_search.query.language.concepts import Phrase
from t2c_search.query.planning.calibration import Calibration, cosines
from t2c_search.query.planning.tail import rank_at, value_at
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store

from .worlds import ClusteredWords, clustered, point_id


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


def sampled_anew(rng: np.random.Generator, rows: np.ndarray, size: int) -> Calibration:
    """A collection of these rows under other ids, so that another sample of it is kept."""
    statistics = VectorStatistics(rows.shape[1], size)
    statistics.add([str(uuid.UUID(bytes=rng.bytes(16))) for _ in rows], rows)
    return Calibration(statistics)


def test_the_interval_of_a_percentile_covers_the_truth_as_often_as_it_says():
    rng, percents = np.random.default_rng(3), (0.02, 0.1, 0.5, 1, 5, 30, 90)
    rows = ClusteredWords(8).images(2000)
    text = ClusteredWords(8).embed("dog")
    covered, found = {percent: [] for percent in percents}, {percent: [] for percent in percents}
    for _ in range(200):
        calibration = sampled_anew(rng, rows, 250)
        axis = calibration.axis(text)
        ordered = np.sort(cosines(rows, [axis])[:, 0])[::-1]
        for percent in percents:
            top = calibration.top(axis, percent)
            truth = ordered[max(round(percent * 20), 1) - 1]
            covered[percent].append(top.low <= truth <= top.high)
            found[percent].append(np.count_nonzero(ordered >= top.value))
            assert top.low <= top.value <= top.high
    for percent in percents:
        assert np.mean(covered[percent]) >= 0.93, percent
        if percent >= 5:  # in the tail, where ranks are few, the interval errs on the safe side
            assert np.mean(covered[percent]) <= 0.99, percent
        assert abs(np.mean(found[percent]) - percent * 20) < max(0.15 * percent * 20, 1.5), percent


def test_the_ends_of_the_percentiles():
    rows, calibration, text = made(6000, 500)
    axis = calibration.axis(text)
    scanned = cosines(rows, [axis])[:, 0]
    everything = calibration.top(axis, 100)
    assert (scanned >= everything.value).all() and everything.low == everything.high == everything.value
    assert calibration.top(axis, 0.001).value > scanned.max()  # a twentieth of an image
    assert calibration.top(axis, 0.001).high == 1  # and the sample does not tell how far beyond
    whole = Calibration(VectorStatistics(32))
    assert whole.top(axis, 5).low < whole.top(axis, 5).high  # of nothing, nothing is known


@pytest.mark.parametrize("percent", [7, 0.07, 0.7, 14, 28, 29, 55, 56, 57, 58])
def test_a_percentage_of_a_whole_sample_is_of_the_number_as_typed(percent):
    """7 / 100 * 100 is 7.000000000000001 in floating point."""
    rows, calibration, text = made(10_000, 10_000)
    axis = calibration.axis(text)
    ordered = np.sort(cosines(rows, [axis])[:, 0])[::-1]
    assert calibration.top(axis, percent).value == ordered[round(percent * 100) - 1]


def test_a_searcher_tells_the_interval_of_any_text():
    searcher = clustered(open_store(":memory:", "interval"), 3000).searcher
    phrase = Phrase(text="snow")
    axis = searcher.directions.axis(phrase)
    top = searcher.calibration.top(axis, 5)
    most, least = (searcher.count(f'"snow" >= {bound!r}').count for bound in (top.low, top.high))
    assert least < searcher.count('"snow" top 5%').count < most
    assert least <= 150 <= most


def test_between_two_rows_a_value_lies_between_theirs():
    ordered = np.array([8.0, 6.0, 5.0])
    assert [value_at(ordered, rank) for rank in (0.5, 1, 1.5, 2.5, 3)] == [8, 8, 7, 5.5, 5]
