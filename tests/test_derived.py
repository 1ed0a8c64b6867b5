"""What was derived of an image stays with it: indexed again, changed, renamed and realigned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from t2c_search.collection import Collection
from t2c_search.types import DERIVED
from tests.stores.made_before import COUNT, LATER, open_photos, unpack


def labels(photos: Collection) -> dict[str, object]:
    """Return the labels of all images by file name."""
    return {
        Path(payload["path"]).name: payload.get(DERIVED, {}).get("label")
        for points in photos.store.scan()
        for payload in points.payloads
    }


@pytest.mark.parametrize("store", ["embedded", ":memory:"])
def test_what_is_derived_stays(tmp_path: Path, store: str) -> None:
    unpack(tmp_path)
    folder = tmp_path / "photographs"
    files = sorted(folder.rglob("*-*.jpg"))
    touched, described, changed, renamed = files[:4]
    with open_photos(tmp_path, store if store == ":memory:" else str(tmp_path / "new.t2c")) as photos:
        assert photos.index([folder], keep_native=True).indexed == COUNT + LATER
        for points in photos.store.scan():
            named = [{f"{DERIVED}.label": Path(payload["path"]).name} for payload in points.payloads]
            photos.store.update_payload(points.ids, named)
        expected: dict[str, object] = {file.name: file.name for file in files}
        assert labels(photos) == expected
        os.utime(touched, (1, 1))
        described.with_suffix(".txt").write_text("a caption")
        Image.new("RGB", (50, 40), "red").save(changed)
        renamed.rename(folder / "another.jpg")
        report = photos.index([folder], sync=True)
        assert (report.updated, report.indexed, report.renamed) == (1, 1, 1)
        expected["another.jpg"] = expected.pop(renamed.name)
        assert labels(photos) == expected
        photos.realign(fit_images=[folder])
        assert labels(photos) == expected
