"""Realigning: the images are gone, and the collection is as if they had been indexed anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.collection import Collection, open_collection
from t2c_search.collection.fitting import fit
from t2c_search.errors import AlignerMismatchError, StoreError, UsageError
from t2c_search.state.bottlenecks import Bottleneck, BottleneckCurve, Fitted, save_bottleneck
from t2c_search.stores import list_collections, open_store
from t2c_search.types import CLIP, NATIVE, Points
from tests.cli.conftest import Outcome
from tests.cli.conftest import t2c as t2c  # a fixture
from tests.encoders.tiny import OPEN_CLIP_CONFIG, save_open_clip, save_timm
from tests.stubs.rest import QdrantStub

IMAGES = 30
WIDER = 20  # dimensions of the other CLIP space


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, three CLIP models, one of another dimension, and two backbones, all with random weights."""
    root = tmp_path_factory.mktemp("realign")
    (root / "images").mkdir()
    rng = np.random.default_rng(3)
    for number in range(IMAGES):
        pixels = rng.integers(0, 255, (6, 6, 3), np.uint8)
        Image.fromarray(pixels).resize((48, 48)).save(root / "images" / f"{number}.png")
    save_open_clip(root / "clip", seed=1)
    save_open_clip(root / "alike", seed=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPEN_CLIP_CONFIG, "embed_dim", WIDER)
        save_open_clip(root / "other", seed=2)
    save_timm(root / "backbone", "test_resnet.r160_in1k", seed=2)
    save_timm(root / "stranger", "test_resnet.r160_in1k", seed=8)
    return root


@pytest.fixture
def images(root: Path, tmp_path: Path) -> Path:
    """The images, to delete."""
    return shutil.copytree(root / "images", tmp_path / "images")


def clip(root: Path, name: str = "clip") -> str:
    return f"open_clip:local-dir:{root}/{name}"


def backbone(root: Path, name: str = "backbone") -> str:
    return f"timm:local-dir:{root}/{name}"


def indexed(root: Path, images: Path, store: str, name: str = "photos", space: str = "clip") -> Collection:
    """Index the images, keeping native vectors."""
    collection = open_collection(name, store, clip=clip(root, space), backbone=backbone(root))
    assert collection.index([images], keep_native=True).indexed == IMAGES
    return collection


def contents(collection: Collection) -> Points:
    """Return all points of the collection."""
    (points,) = collection.store.scan(vectors=(CLIP, NATIVE))
    return points


def assert_like(one: Collection, other: Collection) -> None:
    """Check that two collections hold the same and answer the same."""
    left, right = contents(one), contents(other)
    assert (left.ids, left.payloads) == (right.ids, right.payloads)
    for vector in (CLIP, NATIVE):
        np.testing.assert_allclose(left.vectors[vector], right.vectors[vector], atol=1e-3)
    ours, theirs = (each.search('"a dog" AND NOT "a cat" >= 0.1sd', limit=IMAGES) for each in (one, other))
    assert [hit.id for hit in ours] == [hit.id for hit in theirs]
    np.testing.assert_allclose([hit.score for hit in ours], [hit.score for hit in theirs], atol=1e-2)
    assert one.fit_report is not None
    assert other.fit_report is not None
    assert one.fit_report.centred_recall_at_1 == other.fit_report.centred_recall_at_1


@pytest.mark.parametrize("space", ["clip", "alike", "other"])
def test_it_equals_a_fresh_index_though_the_images_are_gone(
    root: Path, images: Path, tmp_path: Path, space: str
) -> None:
    store = str(tmp_path / "s.t2c")
    fresh = indexed(root, images, store, "fresh", space)
    indexed(root, images, store).close()
    aligner = tmp_path / "new.safetensors"
    aligner.write_bytes(fresh.store.read_blob("aligner") or b"")
    shutil.rmtree(images)
    with open_collection("photos", store) as photos:
        photos.search("a dog")  # the engine of the former space is not used again
        report = photos.realign(aligner)
        assert (report.images, report.clip, report.dropped_concepts) == (IMAGES, clip(root, space), ())
        assert_like(photos, fresh)
    with open_collection("photos", store) as again:
        assert_like(again, fresh)
    fresh.close()


def test_a_server_realigns_too_and_a_reader_goes_on_in_the_new_space(root: Path, images: Path, tmp_path: Path) -> None:
    with QdrantStub() as stub:
        fresh = indexed(root, images, stub.url, "fresh", "other")
        indexed(root, images, stub.url).close()
        with open_collection("photos", stub.url) as reader, open_collection("photos", stub.url) as photos:
            reader.search("a dog")
            fitted = fit([images], backbone=backbone(root), clip=clip(root, "other"))
            fitted.save(tmp_path / "new.safetensors")
            shutil.rmtree(images)
            photos.realign(tmp_path / "new.safetensors")
            assert_like(photos, fresh)
            assert_like(reader, fresh)
        with open_collection("photos", stub.url) as again:
            assert_like(again, fresh)


def test_an_aligner_may_be_fitted_on_images_in_the_same_go(root: Path, images: Path, tmp_path: Path) -> None:
    fresh = indexed(root, images, ":memory:", space="other")
    store = str(tmp_path / "s.t2c")
    indexed(root, images, store).close()
    with open_collection("photos", store, clip=clip(root, "other")) as photos:
        photos.realign(fit_images=[images])
        assert_like(photos, fresh)


def test_a_clip_models_own_vectors_move_to_another_ones_space(root: Path, images: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "s.t2c")
    with open_collection("photos", store, clip=clip(root)) as photos:
        photos.index([images], keep_native=True)
    with open_collection("photos", store, clip=clip(root, "other")) as photos:
        photos.realign(fit_images=[images])
        assert photos.fit_report is not None
        assert len(photos.search("a dog", limit=5)) == 5
    with open_collection("photos", store) as again:
        assert (again.summary()["clip"], again.summary()["backbone"]) == (clip(root, "other"), clip(root))
        first = again.search(image=images / "7.png", limit=1)[0]
        assert (Path(first.path).name, round(first.cosine, 3)) == ("7.png", 1.0)


def test_concepts_stay_within_a_space_and_leave_with_it(root: Path, images: Path, tmp_path: Path) -> None:
    indexed(root, images, str(tmp_path / "s.t2c")).close()
    photos = open_collection("photos", str(tmp_path / "s.t2c"))
    photos.add_concept("noise", [images / "1.png"])
    ones, told = np.ones((1, photos.card.clip.dim)), Fitted(1, 1, "", 1, 5, 0)
    weighed = Bottleneck(
        "b",
        "f",
        (0, 1),
        ("noise",),
        ones,
        ones[0, :1],
        ones[0, :1],
        ones[:, :1],
        ones[0, :1],
        BottleneckCurve((), ()),
        told,
    )
    save_bottleneck(photos.store, weighed)
    report = photos.realign(fit_images=[images])
    assert (report.dropped_concepts, report.dropped_bottlenecks) == ((), ("b",))  # it weighed the former vectors
    assert list(photos.concepts) == ["noise"] and photos.bottlenecks == {}
    fit([images], backbone=backbone(root), clip=clip(root, "other")).save(tmp_path / "new.safetensors")
    assert photos.realign(tmp_path / "new.safetensors").dropped_concepts == ("noise",)
    assert photos.concepts == {}
    photos.close()


def test_what_cannot_be_realigned_stays_as_it_is(root: Path, images: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "s.t2c")
    photos = indexed(root, images, store)
    before = contents(photos)
    fit([images], backbone=backbone(root, "stranger"), clip=clip(root)).save(tmp_path / "stranger")
    with pytest.raises(AlignerMismatchError, match="fitted for the backbone .*stranger"):
        photos.realign(tmp_path / "stranger")
    for wrong in ({}, {"aligner": tmp_path / "stranger", "fit_images": [images]}):
        with pytest.raises(UsageError, match="one of the two"):
            photos.realign(**wrong)
    photos.close()
    fit([images], backbone=backbone(root), clip=clip(root, "alike")).save(tmp_path / "alike")
    with open_collection("photos", store, clip=clip(root, "other")) as opened:
        with pytest.raises(AlignerMismatchError, match="fitted for the CLIP model .*alike"):
            opened.realign(tmp_path / "alike")
        np.testing.assert_array_equal(contents(opened).vectors[CLIP], before.vectors[CLIP])
    with open_collection("bare", store, clip=clip(root), backbone=backbone(root)) as bare:
        bare.index([images])
        with pytest.raises(UsageError, match="under another name with --native"):
            bare.realign(tmp_path / "alike")


def test_images_that_came_meanwhile_are_not_lost(root: Path, images: Path) -> None:
    with QdrantStub() as stub:
        photos = indexed(root, images, stub.url)
        photos.models.project  # noqa: B018  # loads the aligner before
        late = Path(shutil.copy(images / "1.png", images / "late.png"))

        class IndexesMeanwhile:
            def start(self, total: int | None, stage: str) -> None: ...

            def advance(self, done: int) -> None:
                with open_collection("photos", stub.url) as other:
                    other.index([late])

            def fail(self, failure: object) -> None: ...

        fit([images], backbone=backbone(root), clip=clip(root)).save(images / "aligner")
        with pytest.raises(StoreError, match="left as it is"):
            photos.realign(images / "aligner", progress=IndexesMeanwhile())
        assert photos.store.count() == IMAGES + 1
        assert list_collections(stub.url) == ["photos"]


def test_command(t2c: Callable[..., Outcome], root: Path, images: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "s.t2c")
    with indexed(root, images, store) as photos:
        photos.add_concept("noise", [images / "1.png"])
    new = tmp_path / "new.safetensors"
    fit([images], backbone=backbone(root), clip=clip(root, "other")).save(new)
    shutil.rmtree(images)
    done = t2c("realign", "-c", "photos", "--store", store, "--aligner", new, "--json")
    assert done.code == 0, done.err
    assert (done.json["images"], done.json["dropped_concepts"]) == (IMAGES, ["noise"])
    card = open_store(store, "photos").read_blob("card")
    assert json.loads(card or b"")["clip"]["dim"] == WIDER
    assert len(t2c("search", "-c", "photos", "--store", store, "a dog", "--paths").out.split()) == 10
    wrong = t2c("realign", "-c", "photos", "--store", store)
    assert (wrong.code, "--fit-images" in wrong.err) == (2, True)
