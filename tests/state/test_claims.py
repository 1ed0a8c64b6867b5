"""Claims on the statistics: whatever runs begin, write, end and are killed side by side, current statistics are true."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from t2c_search.indexing import writer
from t2c_search.indexing.writer import Writer
from t2c_search.state import statistics as state
from t2c_search.state.statistics import CLAIMS, STATISTICS, claim_statistics, count_statistics, repair_statistics
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.testing.points import make_id
from t2c_search.types import CLIP, Points

DIM = 3


@pytest.fixture
def store() -> Iterator[VectorStore]:
    made = open_store(":memory:", "photos")
    made.create(CollectionSpec.of({CLIP: DIM}, {}))
    yield made
    made.close()


def is_current(store: VectorStore) -> bool:
    header, blobs = store.read_blobs([CLAIMS.key, STATISTICS.key])
    return STATISTICS.key in blobs and CLAIMS.among(blobs).vouch_for(header.blobs[STATISTICS.key].digest)


def assert_true(store: VectorStore) -> None:
    stored, counted = STATISTICS.read(store), count_statistics(store) or VectorStatistics(DIM)
    assert stored is not None
    assert stored.count == counted.count
    np.testing.assert_allclose(stored.mean, counted.mean, atol=1e-9)
    np.testing.assert_allclose(stored.covariance, counted.covariance, atol=1e-9)


def write(run: Writer, store: VectorStore, dice: random.Random) -> None:
    """Write, or delete, a few of twenty points."""
    ids = [make_id(number) for number in dice.sample(range(20), 3)]
    if dice.random() < 0.3:
        run.delete(ids)
    else:
        rows = np.random.default_rng(dice.randrange(10**6)).normal(size=(len(ids), DIM)).astype(np.float32)
        run.put(Points(ids, [{} for _ in ids], {CLIP: rows}), set(store.fetch(ids, payload=False).ids))
    run.drain()


@pytest.mark.parametrize("seed", range(30))
def test_current_statistics_are_true_whoever_is_at_work(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(writer, "CLAIM_SECONDS", 0.0)  # looked at with every write
    dice, runs = random.Random(seed), list[Writer]()
    for _ in range(40):
        step = dice.choice(("begin", "write", "write", "write", "end", "end", "kill"))
        if step == "begin" or not runs:
            runs.append(Writer(store.pinned()).__enter__())
            continue
        run = dice.choice(runs)
        if step == "write":
            write(run, store, dice)
        else:
            runs.remove(run)
            gone = KilledError() if step == "kill" else None
            run.__exit__(gone and KilledError, gone, None)
        if is_current(store):
            assert_true(store)
    for run in runs:
        run.__exit__(None, None, None)
    repair_statistics(store)  # as the next run does, which has nothing to do: some were killed
    assert is_current(store)
    assert_true(store)


class KilledError(Exception):
    """How a run ends that is killed: nothing more is written."""


def test_a_run_that_ends_while_another_counts_is_counted(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(0)
    first, second = Writer(store), Writer(store)
    for run in (first, second):
        write(run, store, dice)
    count, within = state.count_statistics, [first]

    def interrupted(of: VectorStore) -> VectorStatistics | None:
        counted = count(of)
        if within:
            write(within[0], store, dice)
            within.pop().__exit__(None, None, None)
        return counted

    monkeypatch.setattr(state, "count_statistics", interrupted)
    second.__exit__(None, None, None)
    assert is_current(store)
    assert_true(store)


def test_what_was_stored_late_is_not_taken_for_the_truth(store: VectorStore) -> None:
    with Writer(store) as run:
        write(run, store, random.Random(0))
    assert is_current(store)
    late = VectorStatistics(DIM)
    late.add([make_id(1)], np.ones((1, DIM), np.float32))
    store.write_blob(STATISTICS.key, late.to_bytes())  # by one that was overtaken
    assert not is_current(store)


def test_a_killed_runs_claim_goes_with_the_next_run(store: VectorStore) -> None:
    claim_statistics(store)
    assert not is_current(store)
    with Writer(store) as run:
        write(run, store, random.Random(0))
    assert is_current(store)
    assert_true(store)


def test_a_run_changes_the_version_when_it_begins_and_when_it_ends_but_not_in_between(store: VectorStore) -> None:
    dice, before = random.Random(0), store.header()
    with Writer(store) as run:
        write(run, store, dice)
        begun = store.header()
        for _ in range(10):
            write(run, store, dice)
        assert store.header() == begun
    assert begun.lineage == (*before.lineage, before.version)
    after = store.header().lineage
    assert after[:-1] == (*begun.lineage, begun.version)  # what is stored, and the claim that is given back
