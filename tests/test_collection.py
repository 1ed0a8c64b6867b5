"""What the facade promises: a collection carries what it needs, and refuses what does not fit it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.collection import Collection, making, open_collection
from t2c_search.collection.fitting import fit
from t2c_search.errors import CollectionFormatError, CollectionNotFoundError, UsageError
from t2c_search.stores import open_store
from t2c_search.types import CLIP, NATIVE
from tests.cli.conftest import Outcome
from tests.cli.conftest import t2c as t2c  # a fixture
from tests.encoders.tiny import save_open_clip, save_timm
from tests.stubs.rest import QdrantStub

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
        native = torch.from_numpy(points.vectors[NATIVE]).to(opened.models.backbone.device)
        aligned = opened.models.project(native).cpu().numpy()
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


def test_an_existing_collection_must_be_what_is_asked_for(
    photos: Collection, folder: Path, ids: dict[str, str], store: str, tmp_path: Path
) -> None:
    images = folder / "images"
    same = shutil.copytree(folder / "backbone", tmp_path / "same")
    other_clip = save_open_clip(tmp_path / "clip", seed=9)
    other_backbone = save_timm(tmp_path / "backbone", "test_resnet.r160_in1k", seed=9)
    fitted, refitted = tmp_path / "fitted", tmp_path / "refitted"
    with open_collection("photos", store) as opened:
        fitted.write_bytes(opened.store.read_blob("aligner") or b"")
    fit([images], pairs=20, **ids).save(refitted)
    agreeing = ids | {"backbone": f"timm:local-dir:{same}"}
    with open_collection("photos", store, **agreeing) as opened:
        assert opened.index([images], keep_native=True, quantization="none", aligner=fitted).unchanged == IMAGES
        for wrong, message in (
            ({"keep_native": False}, "keeps its backbone's own vectors.*index under another name"),
            ({"quantization": "int8"}, "made with quantization 'none', not 'int8': leave --quantization out"),
            ({"aligner": refitted}, "has another aligner than '.*refitted'.*t2c realign"),
        ):
            with pytest.raises(UsageError, match=message):
                opened.index([images], **wrong)
    for named, message in (
        ({"clip": other_clip}, "made with the CLIP model .* has other weights"),
        ({"backbone": other_backbone}, "made with the backbone .* has other weights"),
    ):
        with open_collection("photos", store, **named) as opened, pytest.raises(UsageError, match=message):
            opened.index([images])


def test_a_collection_without_aligner_refuses_a_backbone(folder: Path, ids: dict[str, str], store: str) -> None:
    with open_collection("photos", store, clip=ids["clip"]) as opened:
        opened.index([folder / "images"])
    with open_collection("photos", store, backbone=ids["clip"]) as opened:
        assert opened.index([folder / "images"]).unchanged == IMAGES
    with open_collection("photos", store, backbone=ids["backbone"]) as opened:
        with pytest.raises(UsageError, match="made with the backbone .*clip.*backbone.* has other"):
            opened.index([folder / "images"])
        with pytest.raises(UsageError, match="is the CLIP model itself: leave --aligner out"):
            open_collection("photos", store).index([folder / "images"], aligner="none-there")


@pytest.mark.parametrize("engine", ["embedded", "server", "memory"])
@pytest.mark.parametrize("field", ["price", "meta.price"])
def test_a_field_gets_a_type_and_an_index_later_but_no_other_type(
    folder: Path, tmp_path: Path, engine: str, field: str
) -> None:
    prices = "".join(f"{number}.png,noise,{number}.5\n" for number in range(IMAGES))
    (tmp_path / "prices.csv").write_text(f"image,caption,{field}\n{prices}")
    table = {"captions": tmp_path / "prices.csv"}
    with ExitStack() as stack:
        location = {"embedded": str(tmp_path / "s.t2c"), "memory": ":memory:"}.get(engine)
        location = location or stack.enter_context(QdrantStub()).url
        photos = stack.enter_context(open_collection("photos", location, clip="mini", backbone="mini"))
        photos.index([folder / "images"], **table)
        assert photos.count(f"{field} >= 20").count == 0  # it is text
        report = photos.index([folder / "images"], fields={field: "float"}, **table)
        assert (report.updated, report.indexed) == (IMAGES, 0)
        assert photos.count(f"{field} >= 20").count == IMAGES - 20
        assert (7.5, 1) in photos.facets(field, limit=IMAGES)
        assert photos.store.spec().indexes[field] == "float"
        with pytest.raises(UsageError, match=f"field '{field}' of collection 'photos' is of type float, not integer"):
            photos.index([folder / "images"], fields={field: "integer"}, **table)
        assert photos.index([folder / "images"], **table).unchanged == IMAGES  # the type stays


def test_options_of_the_command_line_that_cannot_be_followed_are_refused(
    t2c: Callable[..., Outcome], folder: Path, store: str
) -> None:
    where = (folder / "images", "-c", "photos", "--store", store)
    made = ("--clip", "mini", "--backbone", "mini", "--quantization", "int8")
    assert t2c("index", *where, *made).code == 0
    assert t2c("index", *where, *made).code == 0
    for option, message in (
        (("--native",), "does not keep its backbone's own vectors"),
        (("--quantization", "none"), "made with quantization 'int8', not 'none'"),
        (("--backbone", "mini:cnn"), "made with the backbone 'mini'"),
        (("--text", "st:other"), "made with the text tower of 'mini', not 'st:other'"),
    ):
        done = t2c("index", *where, *option)
        assert (done.code, message in " ".join(done.err.split())) == (2, True), done.err


def test_a_newer_format_is_refused(photos: Collection, store: str) -> None:
    raw = open_store(store, "photos")
    card = json.loads(raw.read_blob("card") or b"")
    raw.write_blob("card", json.dumps(card | {"format_version": 99, "shape_of_things": "to come"}).encode())
    raw.close()
    with open_collection("photos", store) as newer:
        for use in (lambda: newer.search("a dog"), lambda: newer.index("images"), lambda: newer.card, newer.refresh):
            with pytest.raises(CollectionFormatError, match="has format 99, .* reads up to 3; upgrade"):
                use()


def test_an_unfinished_collection_is_made_anew(folder: Path, ids: dict[str, str], store: str) -> None:
    from t2c_search.stores.protocol import CollectionSpec

    raw = open_store(store, "photos")
    raw.create(CollectionSpec.of({CLIP: 3}, {}))  # as a run leaves it that is killed before it writes the card
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


@pytest.mark.parametrize("moment", ["before it looks", "after it looked"])
def test_a_collection_that_another_made_meanwhile_is_taken(
    folder: Path, ids: dict[str, str], store: str, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    method = {"before it looks": "exists", "after it looked": "create"}[moment]
    late = open_collection("photos", store, **ids)
    theirs = getattr(type(late.store), method)

    def overtaken(self: object, *arguments: object) -> object:
        monkeypatch.setattr(type(late.store), method, theirs)
        with open_collection("photos", store, **ids) as other:
            assert other.index([folder / "images"]).indexed == IMAGES
        return theirs(self, *arguments)

    monkeypatch.setattr(type(late.store), method, overtaken)
    with late:
        assert late.index([folder / "images"]).unchanged == IMAGES


@pytest.mark.parametrize(("limit", "chosen"), [(IMAGES, "none"), (IMAGES - 1, "int8")])
def test_vectors_of_many_images_are_quantised_unless_said_otherwise(
    folder: Path, ids: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, chosen: str
) -> None:
    monkeypatch.setattr(making, "HELD_WHOLE", limit)
    for name, asked in (("left-out", None), ("said", "none")):
        with open_collection(name, str(tmp_path / "q.t2c"), **ids) as images:
            images.index([folder / "images"], quantization=asked)
            assert images.store.spec().quantization == (asked or chosen)
