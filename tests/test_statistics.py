"""Statistics against numpy over all vectors at once, whatever the order, the batches and the removals."""

from __future__ import annotations

import itertools
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2c_search.errors import CollectionFormatError
from t2c_search.statistics import VectorStatistics

DIM = 5


def ids(start: int, stop: int) -> list[str]:
    return [str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))) for number in range(start, stop)]


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 2, (count, DIM)).astype(np.float32)


def assert_equal(one: VectorStatistics, other: VectorStatistics) -> None:
    assert one.count == other.count
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-9)
    np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-8)
    np.testing.assert_array_equal(one.sample, other.sample)


@given(cuts=st.lists(st.integers(0, 300), max_size=5), seed=st.integers(0, 99))
def test_batches_merges_and_order_do_not_matter(cuts: list[int], seed: int) -> None:
    rows = vectors(300, seed)
    whole = VectorStatistics(DIM, 40)
    whole.add(ids(0, 300), rows)
    np.testing.assert_allclose(whole.mean, rows.astype(np.float64).mean(0), atol=1e-9)
    np.testing.assert_allclose(whole.covariance, np.cov(rows.astype(np.float64).T, bias=True), atol=1e-8)
    assert len(whole.sample) == 40

    merged = VectorStatistics(DIM, 40)
    bounds = [0, *sorted(cuts), 300]
    for start, stop in reversed(list(itertools.pairwise(bounds))):
        part = VectorStatistics(DIM, 40)
        part.add(ids(start, stop), rows[start:stop])
        merged.merge(part)
    assert_equal(merged, whole)


@pytest.mark.parametrize("held", range(41, 52))  # up to a quarter beside the sample, before it is sorted
def test_a_part_that_holds_more_than_its_sample_is_merged_with_the_bound_of_its_sample(held: int) -> None:
    rows, names = vectors(75), ids(0, 75)
    whole, part, merged = (VectorStatistics(DIM, 40) for _ in range(3))
    for statistics in (whole, part):
        statistics.add(names[:held], rows[:held])
    for array in (part._keys, part._rows, part._sum, part._products):
        array.flags.writeable = False  # as they come from another process
    merged.merge(part)
    for statistics in (whole, merged):  # what is added must not fill the places of those that the sample left out
        statistics.remove(names[:30], rows[:30])
        statistics.add(names[60:75], rows[60:75])
    assert_equal(merged, whole)
    assert part.count == held


@given(gone=st.sets(st.integers(0, 99), max_size=60))
def test_removal_undoes_addition(gone: set[int]) -> None:
    rows, names = vectors(100), ids(0, 100)
    statistics = VectorStatistics(DIM, 200)
    statistics.add(names, rows)
    removed = sorted(gone)
    statistics.remove([names[i] for i in removed], rows[removed])
    left = [i for i in range(100) if i not in gone]
    expected = VectorStatistics(DIM, 200)
    expected.add([names[i] for i in left], rows[left])
    assert_equal(statistics, expected)


def test_sample_is_uniform() -> None:
    rows = np.arange(4000, dtype=np.float32).reshape(-1, 1).repeat(DIM, 1)
    statistics = VectorStatistics(DIM, 1000)
    statistics.add(ids(0, 4000), rows)
    # The mean rank of a uniform sample of 1000 of 4000 lies within 4 standard errors of the middle.
    assert abs(statistics.sample[:, 0].mean() - 1999.5) < 4 * 4000 / np.sqrt(12 * 1000)


def test_bytes_round_trip_and_rubbish() -> None:
    statistics = VectorStatistics(DIM, 10)
    statistics.add(ids(0, 50), vectors(50))
    read = VectorStatistics.from_bytes(statistics.to_bytes())
    assert_equal(read, statistics)
    for one in (read, statistics):  # the bound of the sample survives too
        one.add(ids(50, 90), vectors(40, 1))
    assert_equal(read, statistics)
    for rubbish in (b"", b"rubbish", statistics.to_bytes()[:200]):
        with pytest.raises(CollectionFormatError, match="index it again"):
            VectorStatistics.from_bytes(rubbish)


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=8), size=st.integers(1, 40))
def test_sample_is_that_of_a_plain_bottom_k_at_every_step(steps: list[tuple[bool, int]], size: int) -> None:
    rows, names = vectors(600), ids(0, 600)
    keys = [uuid.UUID(name).int & (2**62 - 1) for name in names]
    statistics = VectorStatistics(DIM, size)
    held: list[int] = []  # places in rows, by key
    bound, start, stop = 2**62, 0, 0
    for adds, count in steps:
        if adds:
            added = range(stop, stop + count)
            statistics.add([names[i] for i in added], rows[stop : stop + count])
            stop += count
            held = sorted((i for i in [*held, *added] if keys[i] < bound), key=keys.__getitem__)
            bound = keys[held[size]] if len(held) > size else bound
            held = held[:size]
        elif gone := range(start, min(start + count, stop)):  # the oldest go
            statistics.remove([names[i] for i in gone], rows[gone.start : gone.stop])
            start = gone.stop
            held = [i for i in held if i not in gone]
        np.testing.assert_array_equal(statistics.sample, rows[held])
        assert statistics.count == stop - start
