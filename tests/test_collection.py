"""What the facade promises: a collection carries what it needs, and refuses what does not fit it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.collection import Collection, open_collection
from t2c_search.errors import CollectionFormatError, CollectionNotFoundError, UsageError
from t2c_search.stores import open_store
from t2c_search.types import CLIP, NATIVE
from tests.encoders.tiny import save_open_clip, save_timm

IMAGES = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, a CLIP model and a backbone with random weights."""
    root = tmp_path_factory.mktemp("collection")
    (root / "images").mkdir()
    rng = np.random.default_rng(3)
    for number in range(IMAGES):
        Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8)).resize((48, 48)).save(
            root / "images" / f"{number}.png"
        )
    save_open_clip(root / "clip", seed=1)
    save_timm(root / "backbone", "test_resnet.r160_in1k", seed=2)
    return root


@pytest.fixture
def ids(folder: Path) -> dict[str, str]:
    return {"clip": f"open_clip:local-dir:{folder}/clip", "backbone": f"timm:local-dir:{folder}/backbone"}


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "s.t2c")


@pytest.fixture
def photos(folder: Path, ids: dict[str, str], store: str) -> Collection:
    """A collection that was indexed and closed; open it anew to use it."""
    with open_collection("photos", store, **ids) as collection:
        assert collection.index([folder / "images"], keep_native=True).indexed == IMAGES
        return collection


def test_it_carries_all_that_a_query_needs(photos: Collection, store: str) -> None:
    with open_collection("photos", store) as opened:
        assert opened.search("a dog", limit=3).certificate.kind != "none"
        assert opened.fit_report is not None
        assert opened.fit_report.pairs == IMAGES
        assert opened.summary()["images"] == IMAGES


def test_native_vectors_are_the_backbones_and_aligned_ones_come_from_them(photos: Collection, store: str) -> None:
    import torch

    with open_collection("photos", store) as opened:
        points = next(opened.store.scan(vectors=(CLIP, NATIVE)))
        aligned = opened.models.project(torch.from_numpy(points.vectors[NATIVE])).numpy()
    np.testing.assert_allclose(aligned, points.vectors[CLIP], atol=1e-5)


def test_models_may_move_but_not_change(photos: Collection, folder: Path, store: str, tmp_path: Path) -> None:
    moved = shutil.copytree(folder / "clip", tmp_path / "moved")
    with open_collection("photos", store, clip=f"open_clip:local-dir:{moved}") as opened:
        assert len(opened.search("a dog", limit=3)) == 3
    other = save_open_clip(tmp_path / "other", seed=9)
    with (
        open_collection("photos", store, clip=other) as opened,
        pytest.raises(UsageError, match=r"made with the CLIP model .*clip.*other.* has other weights"),
    ):
        opened.search("a dog")


def test_a_newer_format_is_refused(photos: Collection, store: str) -> None:
    raw = open_store(store, "photos")
    card = json.loads(raw.read_blob("card") or b"")
    raw.write_blob("card", json.dumps(card | {"format_version": 99, "shape_of_things": "to come"}).encode())
    raw.close()
    with pytest.raises(CollectionFormatError, match="has format 99, .* reads up to 1; upgrade"):
        open_collection("photos", store)


def test_an_unfinished_collection_is_made_anew(folder: Path, ids: dict[str, str], store: str) -> None:
    from t2c_search.stores.protocol import CollectionSpec

    raw = open_store(store, "photos")
    raw.create(CollectionSpec({CLIP: 3}, {}))  # as a run leaves it that is killed before it writes the card
    raw.close()
    with open_collection("photos", store, **ids) as opened:
        with pytest.raises(CollectionNotFoundError, match="t2c index FOLDER -c photos"):
            opened.search("a dog")
        assert opened.index([folder / "images"]).indexed == IMAGES


def test_code_named_by_a_collection_is_not_run(photos: Collection, store: str) -> None:
    raw = open_store(store, "photos")
    card = json.loads(raw.read_blob("card") or b"")
    card["clip"]["id"] = "torch:antigravity:fly"
    raw.write_blob("card", json.dumps(card).encode())
    raw.close()
    with open_collection("photos", store) as opened, pytest.raises(UsageError, match="--clip torch:antigravity:fly"):
        opened.search("a dog")


def test_search_sees_what_was_indexed_since(photos: Collection, folder: Path, store: str, tmp_path: Path) -> None:
    new = tmp_path / "new.png"
    Image.new("RGB", (40, 40), "red").save(new)
    with open_collection("photos", store) as opened:
        assert opened.count("path EXISTS").count == IMAGES
        assert opened.index([new]).indexed == 1
        assert opened.search(image=new, limit=1)[0].path == str(new)
        assert opened.count("path EXISTS").count == IMAGES + 1
