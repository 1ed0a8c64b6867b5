"""What a program gives: images in memory are found as their files are, and what cannot be meant is one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from t2c_search.collection import Collection, open_collection
from t2c_search.errors import ImageError, UsageError
from t2c_search.state.concepts import CONCEPTS
from tests.indexing.support import save_pictures

COUNT = 12


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return save_pictures(tmp_path_factory.mktemp("given"), COUNT)


@pytest.fixture(scope="module")
def photos(files: list[Path]) -> Iterator[Collection]:
    with open_collection("photos", ":memory:", clip="mini", backbone="mini") as collection:
        collection.index(files)
        yield collection


def array(path: Path) -> Any:
    return np.asarray(Image.open(path).convert("RGB"))


FORMS: list[Callable[[Path], Any]] = [
    Path.read_bytes,
    lambda path: bytearray(path.read_bytes()),
    lambda path: memoryview(path.read_bytes()),
    Image.open,
    lambda path: Image.open(path).convert("RGBA"),
    array,
]


@pytest.mark.parametrize("form", FORMS)
def test_an_image_in_memory_finds_what_its_file_finds(
    form: Callable[[Path], Any], photos: Collection, files: list[Path]
) -> None:
    found, expected = photos.search(image=form(files[3])), photos.search(image=files[3])
    assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in expected]
    assert found.hits[0].path == str(files[3])
    asked: dict[str, Any] = {"query": "a dog AND width > 1", "limit": 3}
    assert [hit.id for hit in photos.search(**asked, image=form(files[3]))] == [
        hit.id for hit in photos.search(**asked, image=files[3])
    ]


@pytest.mark.parametrize("form", FORMS)
def test_a_concept_is_learnt_from_images_in_memory(
    form: Callable[[Path], Any], photos: Collection, files: list[Path]
) -> None:
    photos.add_concept("it", files[:2], [files[5]])
    saved = photos.store.read_blob(CONCEPTS.key)
    photos.add_concept("it", [form(files[0]), str(files[1])], form(files[5]))
    assert photos.store.read_blob(CONCEPTS.key) == saved


def test_grey_and_transparent_arrays_are_images(photos: Collection, files: list[Path]) -> None:
    grey = np.asarray(Image.open(files[0]).convert("L"))
    for image in (grey, np.asarray(Image.open(files[0]).convert("RGBA"))):
        expected = photos.search(image=Image.fromarray(image))
        assert [hit.id for hit in photos.search(image=image)] == [hit.id for hit in expected]


def test_a_picture_from_a_camera_is_turned_upright(photos: Collection, files: list[Path], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(files[0]).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    found = photos.search(image=Image.open(tmp_path / "turned.png"), limit=1)
    assert found.hits[0].cosine == pytest.approx(photos.search(image=tmp_path / "turned.png", limit=1).hits[0].cosine)
    assert found.hits[0].path == str(files[0])


@pytest.mark.parametrize(
    "wrong",
    [7, None.__class__, {}, [b"x"], np.zeros((3, 3)), np.zeros((2, 4, 4, 3), np.uint8), np.zeros((0, 3), np.uint8)],
)
def test_what_is_no_image_is_a_sentence(wrong: Any, photos: Collection) -> None:
    with pytest.raises(UsageError, match="^image is .*: expected a path, an image file's bytes, an image of Pillow"):
        photos.search(image=wrong)
    with pytest.raises(UsageError, match="^yes is .*: expected a path, an image file's bytes"):
        photos.add_concept("it", [wrong])


@pytest.mark.parametrize("broken", [b"", b"no image", Image.new("RGB", (0, 5)), np.zeros((900, 2), np.uint8)])
def test_an_image_that_cannot_be_used_says_why(broken: Any, photos: Collection) -> None:
    with pytest.raises(ImageError, match="^an image in memory: "):
        photos.search(image=broken)


def test_an_image_in_memory_cannot_be_written_down(photos: Collection, files: list[Path]) -> None:
    with pytest.raises(UsageError, match="save it, and give its path"):
        photos.expression(image=files[0].read_bytes())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"query": 7}, "query is 7: expected a text, an expression"),
        ({"query": ["a dog"]}, "query is ['a dog']"),
        ({"query": b"a dog"}, "query is b'a dog'"),
        ({"query": np.zeros(3)}, "query is array("),
        ({"query": "a", "where": 7}, "where is 7: expected conditions"),
        ({"query": "a", "limit": "5"}, "limit is '5': expected a whole number"),
        ({"query": "a", "limit": 2.5}, "limit is 2.5"),
        ({"query": "a", "max_candidates": "many"}, "max_candidates is 'many'"),
        ({"query": "a", "max_seconds": "2"}, "max_seconds is '2': expected a number of seconds"),
        ({"query": "a", "group_by": 7}, "field is 7"),
    ],
)
def test_questions_of_a_wrong_type_are_a_sentence(given: dict[str, Any], message: str, photos: Collection) -> None:
    with pytest.raises(UsageError) as caught:
        photos.search(**given)
    assert message in str(caught.value)
    if given.keys() <= {"query", "where"}:
        for ask in (photos.mine, photos.count, photos.expression):
            with pytest.raises(UsageError) as caught:
                ask(**given)
            assert message in str(caught.value)
    with pytest.raises(UsageError, match="name is 7: expected a text"):
        photos.add_concept(7, "x.jpg")  # type: ignore[arg-type]
