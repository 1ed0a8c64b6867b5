"""Collections made by former versions answer as they did then, and images can be added to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.made_before import COUNT, LATER, answers, open_photos, unpack
from tests.stubs.rest import QdrantStub


@pytest.fixture
def store(where: str, kind: str, disk: Path) -> Iterator[str]:
    """The place of a collection made before."""
    if where == "embedded":
        yield str(disk / f"{kind}.t2c")
    else:
        with QdrantStub() as stub:
            stub.load((disk / f"{kind}.jsonl").read_text())
            yield stub.url


@pytest.mark.parametrize("where", ["embedded", "served"])
@pytest.mark.parametrize("kind", ["plain", "realigned"])
def test_it_is_read_searched_and_added_to(disk: Path, where: str, kind: str, request: pytest.FixtureRequest) -> None:
    told = unpack(disk)[kind]
    store = request.getfixturevalue("store")
    with open_photos(disk, store) as photos:
        assert answers(photos) == told
    with open_photos(disk, store) as photos:
        report = photos.index([disk / "photographs" / "later"])
        assert (report.indexed, report.failures) == (LATER, ())
    with open_photos(disk, store) as photos:
        assert photos.summary()["images"] == COUNT + LATER
        assert len(photos.search("a red heart", limit=COUNT + LATER)) == COUNT + LATER
