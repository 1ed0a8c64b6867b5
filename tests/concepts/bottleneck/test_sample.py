"""The labelled images that are read: those with one value, a uniform sample of them, classes of enough images."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from t2c_search.concepts.bottleneck import sample
from t2c_search.concepts.bottleneck.sample import read_labelled
from t2c_search.errors import UsageError
from t2c_search.query.execution.searcher import Searcher
from t2c_search.query.execution.selection import values_of
from t2c_search.query.language.syntax import parse
from t2c_search.stores import open_store
from t2c_search.types import CLIP
from tests.query.worlds import clustered


@pytest.fixture(scope="module")
def searcher() -> Searcher:
    return clustered(open_store(":memory:", "labelled"), 1500, 16).searcher


def labelled_by_hand(searcher: Searcher, field: str, most: int) -> list[tuple[str, np.ndarray]]:
    """Return value and vector of the images of one value whose ids hash lowest, in the order of their ids."""
    found = [
        (uuid.UUID(point).int % 2**62, point, values_of(payload, field), row)
        for points in searcher.store.scan(vectors=(CLIP,))
        for point, payload, row in zip(points.ids, points.payloads, points.vectors[CLIP], strict=True)
    ]
    lowest = sorted(each for each in found if len(each[2]) == 1)[:most]
    return [(str(values[0]), row) for _, point, values, row in sorted(lowest, key=lambda each: each[1])]


@pytest.mark.parametrize(("field", "most"), [("camera", 5000), ("camera", 200), ("tags", 300)])
def test_those_whose_ids_hash_lowest_are_read(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch, field: str, most: int
) -> None:
    monkeypatch.setattr(sample, "MOST_IMAGES", most)
    found = read_labelled(searcher, None, field, native=False)
    expected = labelled_by_hand(searcher, field, most)
    assert [found.classes[at] for at in found.labels] == [value for value, _ in expected]
    np.testing.assert_array_equal(found.vectors, [row for _, row in expected])
    assert found.classes == tuple(sorted(found.classes))
    assert found.native is None
    assert found.found == len(labelled_by_hand(searcher, field, 5000))


def test_only_what_satisfies_constraints_is_read(searcher: Searcher) -> None:
    found = read_labelled(searcher, parse("width >= 150"), "camera", native=False)
    wide = [
        payload["camera"]
        for points in searcher.store.scan()
        for payload in points.payloads
        if payload["width"] >= 150 and "camera" in payload
    ]
    assert sorted(found.classes[at] for at in found.labels) == sorted(wide)


def test_values_of_few_images_are_no_class(searcher: Searcher) -> None:
    found = read_labelled(searcher, parse("width < 200"), "width", native=False)
    counts = dict.fromkeys(range(100, 200), 0)
    for points in searcher.store.scan():
        for payload in points.payloads:
            counts[payload["width"]] += 1
    assert found.classes == tuple(width for width, count in counts.items() if count >= 10)
    assert found.rare == tuple(width for width, count in counts.items() if 0 < count < 10)


@pytest.mark.parametrize(("field", "said"), [("score", "0 values of 'score'"), ("gps", "no image has one value")])
def test_a_field_that_tells_no_classes_is_refused(searcher: Searcher, field: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_labelled(searcher, None, field, native=False)
