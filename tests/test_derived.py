"""What was derived of an image stays with it: indexed again, changed, renamed and realigned."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.collection import Collection
from t2c_search.errors import ExpressionError, StoreError, UsageError
from t2c_search.progress import NoProgress
from t2c_search.sources import ImageInput
from t2c_search.state.derived import derived_field, write_derived
from t2c_search.stores.protocol import VectorSpec
from t2c_search.types import DERIVED, Points
from tests.stores.made_before import COUNT, LATER, open_photos, unpack

PATCHES, TAGS = VectorSpec(2, multi=True), VectorSpec(3)


def add_vectors(photos: Collection, ids: list[str]) -> None:
    """Add a vector and a multivector, and give them to these images: numbers that tell which image's they are."""
    photos.store.add_vector("patches", PATCHES)
    photos.store.add_vector("tags", TAGS)
    tags = np.arange(3 * len(ids), dtype=np.float32).reshape(-1, 3)
    patches = [np.full((1 + number % 2, 2), number, np.float32) for number in range(len(ids))]
    photos.store.update_vectors(Points(ids, vectors={"tags": tags}, multivectors={"patches": patches}))


def added_vectors(photos: Collection) -> dict[str, tuple[list[float], list[list[float]]]]:
    """Return both added vectors of the images that have them, by file name."""
    return {
        Path(payload["path"]).name: (tags.tolist(), patches.tolist())
        for points in photos.store.scan(vectors=("tags", "patches"))
        for payload, tags, patches in zip(
            points.payloads, points.vectors["tags"], points.multivectors["patches"], strict=True
        )
        if not np.isnan(tags).any() and len(patches)
    }


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
        add_vectors(photos, [ImageInput(str(file), 0, 0).id for file in files[:20]])
        vectors = added_vectors(photos)
        assert len(vectors) == 20
        os.utime(touched, (1, 1))
        described.with_suffix(".txt").write_text("a caption")
        Image.new("RGB", (50, 40), "red").save(changed)
        renamed.rename(folder / "another.jpg")
        report = photos.index([folder], sync=True)
        assert (report.updated, report.indexed, report.renamed) == (1, 1, 1)
        expected["another.jpg"] = expected.pop(renamed.name)
        assert labels(photos) == expected
        vectors["another.jpg"] = vectors.pop(renamed.name)
        del vectors[changed.name]  # they were of other pixels
        assert added_vectors(photos) == vectors
        photos.realign(fit_images=[folder])
        assert labels(photos) == expected
        assert added_vectors(photos) == vectors


@pytest.mark.parametrize("store", ["embedded", ":memory:"])
def test_what_is_written_filters_and_no_realignment_loses_it(tmp_path: Path, store: str) -> None:
    unpack(tmp_path)
    folder = tmp_path / "photographs"

    class Meanwhile(NoProgress):
        def start(self, total: int | None, stage: str) -> None:
            if stage == "realigning":
                write_derived(photos.store, derived_field("label"), ids[:5], ["later"] * 5)

    with open_photos(tmp_path, store if store == ":memory:" else str(tmp_path / "new.t2c")) as photos:
        photos.index([folder], keep_native=True)
        ids = [each for points in photos.store.scan(payload=False) for each in points.ids]
        before = photos.search(where="width > 0").statistics
        write_derived(photos.store, derived_field("label"), ids[:7], ["good"] * 7)
        assert photos.count('derived.label = "good"').count == 7
        with pytest.raises(ExpressionError, match=r"no payload field label; did you mean derived\.label\?"):
            photos.count('label = "good"')
        after = photos.search(where="width > 0").statistics
        assert before and after and (after.images, after.current) == (before.images, True)
        with pytest.raises(StoreError, match="was left as it is, as its statistics-state was changed"):
            photos.realign(fit_images=[folder], progress=Meanwhile())
        assert photos.count('derived.label = "later"').count == 5
        assert photos.count('derived.label = "good"').count == 2
        photos.realign(fit_images=[folder])
        assert photos.count('derived.label = "later"').count == 5


def test_a_derived_name_is_one_word() -> None:
    assert derived_field("größe-2") == "derived.größe-2"
    for name in ("", "two words", "a.b", "1st", '"', "x" * 3 + "\n"):
        with pytest.raises(UsageError, match="names no field to write"):
            derived_field(name)
