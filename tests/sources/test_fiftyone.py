"""What FiftyOne exports is indexed with its labels; what we export for FiftyOne comes back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from t2c_search.export.files import write_fiftyone
from t2c_search.results import Contribution, Hit
from t2c_search.sources import ImageList, list_images, read_image
from t2c_search.stores.protocol import VectorStore
from tests.indexing.support import COUNT, contents, index, save_pictures

from .kinds import as_tar

DETECTION = {"_cls": "Detection", "_id": {"$oid": "61829d97"}, "attributes": {}, "bounding_box": [0.1, 0.2, 0.3, 0.4]}
SAMPLE = {
    "_id": {"$oid": "66df2937"},
    "_media_type": "image",
    "_rand": 0.25,
    "filepath": "data/0000.jpg",
    "tags": ["validation", "night"],
    "metadata": {"_cls": "ImageMetadata", "width": 352, "height": 230},
    "created_at": {"$date": "2024-09-09T16:58:31.778Z"},
    "taken_on": {"$date": 1725901111000},
    "ground_truth": {
        "_cls": "Detections",
        "detections": [DETECTION | {"label": label} for label in ("car", "dog", "car")],
    },
    "weather": {"_cls": "Classification", "label": "sunny", "confidence": 0.9, "logits": None},
    "main": DETECTION | {"label": "car", "mask": {"$binary": {"base64": "eJw=", "subType": "00"}}},
    "scenes": {"_cls": "Classifications", "classifications": [{"_cls": "Classification", "label": "street"}]},
    "lanes": {"_cls": "Polylines", "polylines": [{"_cls": "Polyline", "label": None, "points": [[[0, 1]]]}]},
    "predictions": None,
    "quality": {"_cls": "Regression", "value": 51.5},
    "Uniqueness": 0.75,
    "reviewed": True,
    "filename": "was called so",
    "caption": "a car by night",
    "vector": {"$binary": {"base64": "eJw=", "subType": "00"}},
    "embedding": [0.5] * 100,
    "camera_pose": {"pitch": 1.5},
}


def save_export(folder: Path, samples: list[Any], *, indent: int | None = None) -> Path:
    """Write a folder as ``dataset.export(DIR, fiftyone.types.FiftyOneDataset)`` does."""
    save_pictures(folder / "data", COUNT)
    (folder / "metadata.json").write_text(json.dumps({"_id": {"$oid": "66"}, "name": "fo", "version": "1.0.0"}))
    path = folder / "samples.json"
    path.write_text(json.dumps({"samples": samples}, indent=indent))
    return path


def paths(images: ImageList) -> list[str]:
    return [item.path for item in images]


@pytest.mark.parametrize("indent", [None, 4])
def test_labels_become_fields(tmp_path: Path, indent: int | None) -> None:
    images = list_images([save_export(tmp_path, [SAMPLE, {"filepath": "data/0001.jpg", "tags": []}], indent=indent)])
    assert paths(images) == [str(tmp_path / "data" / name) for name in ("0000.jpg", "0001.jpg")]
    assert images[0].size == (tmp_path / "data" / "0000.jpg").stat().st_size
    assert images[0].fields == {
        "tags": ["validation", "night"], "created_at": "2024-09-09T16:58:31.778Z",
        "taken_on": "2024-09-09T16:58:31+00:00", "ground_truth": ["car", "dog"], "weather": "sunny", "main": "car",
        "scenes": ["street"], "lanes": [], "quality": 51.5, "uniqueness": 0.75, "reviewed": True,
        "filename": "was called so", "captions": ["a car by night"], "camera_pose": {"pitch": 1.5},
    }  # fmt: skip
    assert images[1].fields == {"tags": []}
    (warning,) = images.warnings
    assert "field 'embedding' passed over: it holds vectors" in warning


def test_the_folder_itself_is_indexed_by_its_samples(tmp_path: Path, store: VectorStore) -> None:
    samples = [
        {"filepath": f"data/{n:04d}.jpg", "weather": {"_cls": "Classification", "label": str(n)}} for n in (2, 4)
    ]
    save_export(tmp_path / "fo", samples)
    images = list_images([tmp_path / "fo"])
    assert index(images, store).indexed == 2
    assert {payload["name"]: payload["weather"] for payload, _ in contents(store).values()} == {
        "0002.jpg": "2", "0004.jpg": "4"
    }  # fmt: skip


@pytest.mark.parametrize("missing", ["metadata.json", "samples.json"])
def test_a_folder_that_only_looks_like_an_export_is_a_folder(tmp_path: Path, missing: str) -> None:
    save_export(tmp_path / "fo", [SAMPLE])
    (tmp_path / "fo" / missing).unlink()
    assert len(list_images([tmp_path / "fo"])) == COUNT


def test_images_elsewhere_and_samples_that_are_none(tmp_path: Path) -> None:
    """With ``export_media=False`` the paths are those that the data set had."""
    elsewhere = save_pictures(tmp_path / "elsewhere", 1)[0]
    samples = [
        {"filepath": str(elsewhere)},
        {"filepath": "s3://bucket/a.jpg"},
        {"filepath": "data/clip.mp4", "_media_type": "video"},
        {"tags": []},
        7,
    ]
    images = list_images([save_export(tmp_path / "fo", samples)])
    assert paths(images) == [str(elsewhere), "s3://bucket/a.jpg"]
    assert "sample that is no image passed over (2 times" in images.warnings[0]
    assert "row without an image passed over" in images.warnings[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"samples": [', "are not JSON"),
        ('{"samples": {}}', "are not a list: expected a FiftyOneDataset's samples.json"),
        ('{"samples": ' + "[" * 100_000, "are not JSON"),
        ('{"rows": []}', "is neither COCO annotations"),
    ],
)
def test_damaged_samples_are_a_warning(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "samples.json").write_text(content)
    images = list_images([tmp_path / "samples.json"])
    assert not images
    assert message in images.warnings[0]


def test_what_was_exported_for_fiftyone_comes_back(tmp_path: Path, photos: list[Path], store: VectorStore) -> None:
    """The same paths and what was said of them; not what a search said, nor what the files say themselves."""
    (photos[0].with_suffix(".txt")).write_text("a picture\n")
    (photos[1].with_suffix(".json")).write_text('{"place": {"lat": 1.5, "lon": 2.5}, "rating": 3}')
    index(list_images([photos[0].parent]), store)
    before = contents(store)
    why = (Contribution("a dog", 0.2, 1.5, True),)
    hits = [
        Hit(rank, str(rank), path, 0.5, 0.25, payload, why)
        for rank, (path, (payload, _)) in enumerate(before.items(), 1)
    ]
    with (tmp_path / "samples.json").open("wb") as file:
        write_fiftyone(hits, '"a dog"', file)
    images = list_images([tmp_path / "samples.json"])
    assert images.warnings == ()
    fields = {item.path: dict(item.fields) for item in images}
    assert fields.keys() == before.keys()
    assert all(item.pop("tags") == ['"a dog"'] for item in fields.values())
    assert fields.pop(str(photos[0])) == {"captions": ["a picture"]}
    assert fields.pop(str(photos[1])) == {"place": {"lat": 1.5, "lon": 2.5}, "rating": 3}
    assert set(map(str, fields.values())) == {"{}"}
    assert index(images, store).updated == COUNT  # by its tag


def test_members_of_archives_come_back_too(tmp_path: Path, photos: list[Path]) -> None:
    found = paths(list_images([as_tar(photos)]))
    out = io.BytesIO()
    write_fiftyone([Hit(1, "1", found[2], 0.5, 0.25, {"path": found[2]})], "x", out)
    (tmp_path / "samples.json").write_bytes(out.getvalue())
    (item,) = list_images([tmp_path / "samples.json"])
    assert (item.path, read_image(item.path)) == (found[2], photos[2].read_bytes())
