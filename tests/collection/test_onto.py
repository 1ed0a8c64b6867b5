"""Any model onto any other: a collection is asked by images that another model than its own has looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from t2c_search import Aligner, UsageError, fit, open_collection, retained
from t2c_search.collection.carried import half_of_each
from t2c_search.demo import world
from t2c_search.encoders.pool import ModelPool
from t2c_search.errors import AlignerMismatchError

SCENES, ASKED = 240, 30


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn scenes, each in the folder of its background."""
    folder = tmp_path_factory.mktemp("scenes")
    for number, scene in enumerate(world.draw(7, SCENES)):
        label = folder / scene.truth.background
        label.mkdir(exist_ok=True)
        Image.fromarray(scene.image).save(label / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def onto(scenes: Path) -> Path:
    file = scenes.parent / "vit-onto-cnn.safetensors"
    fit([scenes], backbone="mini:vit", onto="mini:cnn", device="cpu").save(file)
    return file


@pytest.fixture(scope="module")
def store(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where a collection of mini:cnn lies, in CLIP space, and one of mini, which needs no aligner."""
    location = str(tmp_path_factory.mktemp("store"))
    for name, backbone in (("cnn", "mini:cnn"), ("clip", "mini")):
        with open_collection(name, location, clip="mini", backbone=backbone, device="cpu") as images:
            images.index(scenes)
    return location


def share_found(name: str, store: str, through: Path | None, scenes: Path, pool: ModelPool | None = None) -> float:
    """Ask for images of the collection; return the share of them that are their own first hit."""
    asked = sorted(scenes.rglob("*.png"))[:ASKED]
    with open_collection(name, store, device="cpu", through=through, pool=pool) as images:
        return sum(images.search(image=file, limit=1)[0].path == file.as_posix() for file in asked) / ASKED


class Noting(ModelPool):
    """Notes which models are loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def load(self, encoder_id: str, **placed: object) -> object:
        self.loaded.append(encoder_id)
        return super().load(encoder_id, **placed)


def test_another_models_images_find_themselves_and_the_collections_own_model_is_not_loaded(
    store: str, onto: Path, scenes: Path
) -> None:
    pool = Noting()
    assert (
        share_found("cnn", store, onto, scenes, pool) >= 0.6
    )  # chance: 1 / 240; the fit's split depends on where the scenes lie
    assert set(pool.loaded) == {"mini:vit"}


def test_a_collection_that_needs_no_aligner_is_asked_so_too(store: str, scenes: Path, tmp_path: Path) -> None:
    file = tmp_path / "vit-onto-clip.safetensors"
    aligner = fit([scenes], backbone="mini:vit", onto="mini", device="cpu")
    aligner.save(file)
    assert aligner.report.concept_fidelity is not None  # that model has texts
    assert share_found("clip", store, file, scenes) >= 0.6


def test_an_aligner_onto_another_model_is_refused(store: str, onto: Path, scenes: Path) -> None:
    with pytest.raises(AlignerMismatchError, match="fitted for the CLIP model 'mini:cnn', not for 'mini'"):
        share_found("clip", store, onto, scenes)


def test_a_model_is_not_carried_onto_itself_nor_onto_two(scenes: Path) -> None:
    with pytest.raises(UsageError, match="'mini:cnn' is the model to carry it onto itself"):
        fit([scenes], backbone="mini:cnn", onto="mini:cnn", device="cpu")
    with pytest.raises(
        UsageError, match=r"one of the two: a CLIP model \(clip\), or any other encoder of images \(onto\)"
    ):
        fit([scenes], backbone="mini:cnn", onto="mini:vit", clip="mini", device="cpu")


def test_a_collections_aligner_that_asks_for_lengths_cannot_follow(
    store: str, onto: Path, scenes: Path, tmp_path: Path
) -> None:
    own = fit([scenes], backbone="mini:cnn", clip="mini", device="cpu")
    replace(own, transform="identity").save(file := tmp_path / "lengths.safetensors")
    with open_collection("lengths", store, clip="mini", backbone="mini:cnn", device="cpu") as images:
        images.index(next(scenes.iterdir()), aligner=file)
    with pytest.raises(UsageError, match="takes rows of 'mini:cnn' at their own length"):
        share_found("lengths", store, onto, scenes)


def test_what_is_retained_is_told_on_labelled_folders(onto: Path, scenes: Path) -> None:
    told = retained(Aligner.load(onto), scenes, device="cpu")
    assert told.classes == len(list(scenes.iterdir()))
    assert (told.trained_on + told.tested_on, abs(told.trained_on - told.tested_on) <= told.classes) == (SCENES, True)
    assert min(told.own, told.of_other, told.carried) >= 0.6  # chance: 0.13
    assert told.retained == told.carried / told.own == told.to_json()["retained"]


def test_halves_are_of_every_label_and_do_not_depend_on_the_order() -> None:
    ids, labels = list("abcdefg"), list("xyxyxxy")
    half = half_of_each(ids, labels)
    assert {image for image, chosen in zip(ids, half, strict=True) if chosen} == {"a", "c", "b", "d"}
    assert half_of_each(ids[::-1], labels[::-1]) == half[::-1]
