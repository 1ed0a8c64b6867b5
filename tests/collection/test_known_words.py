"""What a model knows of words, and what regions, images and texts say to each other, on drawn scenes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.collection import Collection, open_collection
from t2c_search.collection.fitting import fit
from t2c_search.demo.truth import Truth
from t2c_search.demo.world import draw
from t2c_search.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore:the factors of")  # small models, collages they were not made for
SCENES = 60
WRONG = 7
"""The scene whose caption names what it does not show."""


@pytest.fixture(scope="module")
def truths() -> list[Truth]:
    return [scene.truth for scene in draw(93, SCENES)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, truths: list[Truth]) -> Iterator[Collection]:
    folder = tmp_path_factory.mktemp("known")
    for scene in draw(93, SCENES):
        Image.fromarray(scene.image).save(folder / f"{scene.index:02d}.png")
        things = [{"label": each.shape, "box": list(each.box)} for each in scene.truth.things]
        caption = " and ".join(f"a {each.colour} {each.shape}" for each in scene.truth.things)
        if scene.index == WRONG:
            caption = "a lone star, a heart, a ring, a circle and a square"
        told = {"caption": caption, "things": things, "word": "no boxes"}
        (folder / f"{scene.index:02d}.json").write_text(json.dumps(told))
    with open_collection("known", ":memory:", clip="mini", device="cpu") as images:
        images.index([folder])
        yield images


def test_maps_of_words_that_a_model_knows_point_at_boxes(drawn: Collection) -> None:
    found = drawn.grounding(["star", "heart", "zebra"], boxes="things", images=12)
    assert {word.word for word in found} == {"star", "heart"}
    assert len(found.notes) == 1 and "'zebra' is left out: 0 pictures" in found.notes[0]
    for word in found:
        assert 5 <= word.images <= 12
        assert word.low <= word.score <= word.high
        assert word.score > word.chance + 0.05


def test_pictures_that_cannot_be_read_are_left_out_and_noted(drawn: Collection, truths: list[Truth]) -> None:
    whole = drawn.grounding(["star"], boxes="things", images=60)
    gone = next(
        Path(hit.path)
        for hit in drawn.search(where="width >= 1", limit=SCENES)
        if any(thing.shape == "star" for thing in truths[int(Path(hit.path).stem)].things)
    )
    content = gone.read_bytes()
    gone.write_bytes(content[:100])
    try:
        found = drawn.grounding(["star"], boxes="things", images=60)
    finally:
        gone.write_bytes(content)
    (before,), (after,) = whole, found
    assert after.images == before.images - 1
    assert f"1 of the {before.images} pictures of 'star' are left out" in found.notes[0]


def test_captions_tell_where_a_word_is_in_collages(drawn: Collection) -> None:
    found = drawn.grounding(["heart", "ring"], images=12)
    assert all(word.score > word.chance + 0.05 for word in found)
    assert [word.score for word in found] == sorted((word.score for word in found), reverse=True)


def test_captions_that_pictures_contradict_are_found(drawn: Collection, truths: list[Truth]) -> None:
    shown = {thing.shape for thing in truths[WRONG].things}
    words = [word for word in ("star", "heart", "ring", "circle", "square") if word not in shown]
    found = drawn.grounding(words, images=5)
    wrong = {claim.word for claim in found.contradictions if claim.path.endswith(f"{WRONG:02d}.png")}
    assert len(wrong) >= len(words) - 1
    assert [claim.z for claim in found.contradictions] == sorted(claim.z for claim in found.contradictions)
    assert all(claim.z < 0 for claim in found.contradictions)
    for word in found:
        told = [claim for claim in found.contradictions if claim.word == word.word]
        assert word.claimed >= word.contradicted == len(told) or len(told) == 10
        assert word.word not in wrong or word.contradicted


def test_a_model_gains_nothing_over_itself(drawn: Collection, tmp_path: Path) -> None:
    same = drawn.grounding(["star"], boxes="things", images=6, against="clip")
    (word,) = same
    assert word.other == pytest.approx(word.score, abs=0.05)  # about the mean of the first images, not of all
    assert word.gain_low <= word.gain <= word.gain_high
    folder = tmp_path / "more"
    folder.mkdir()
    for scene in draw(94, 40):
        Image.fromarray(scene.image).save(folder / f"{scene.index}.png")
    fit(folder, backbone="mini:vit", clip="mini", device="cpu").save(tmp_path / "vit.safetensors")
    other = drawn.grounding(["star"], boxes="things", images=6, against=tmp_path / "vit.safetensors")
    assert other.other == "mini:vit by vit.safetensors"
    assert other[0].score == pytest.approx(word.score)
    assert other[0].gain == pytest.approx(other[0].other - other[0].score)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"boxes": "nothing"}, "nothing"),
        ({"boxes": "word"}, "holds no boxes: expected objects with a label and a box"),
        ({"words": ["zebra"]}, "no image's captions have any of these words"),
        ({"against": "nowhere.safetensors"}, "cannot be read"),
    ],
)
def test_mistakes_are_told(drawn: Collection, asked: dict[str, object], message: str) -> None:
    with pytest.raises(Exception, match=message) as told:
        drawn.grounding(**{"words": ["star"], **asked})
    assert type(told.value).__module__ == "t2c_search.errors"


def path_of(collection: Collection, scene: int) -> str:
    return next(hit.path for hit in collection.mine(where=f'path ~ "*/{scene:02d}.png"'))


def test_a_region_is_told_by_what_is_in_it(drawn: Collection, truths: list[Truth]) -> None:
    right = asked = 0
    for number, truth in enumerate(truths):
        if len(truth.things) == 2 and truth.things[0].shape != truth.things[1].shape:
            shapes = [thing.shape for thing in truth.things]
            for thing in truth.things:
                box = drawn.explain_region(path_of(drawn, number), thing.box, vocabulary=shapes, words=2)
                asked += 1
                right += box.words[0].word == thing.shape
                if asked <= 4:
                    mask = drawn.explain_region(path_of(drawn, number), thing.mask, vocabulary=shapes, words=2)
                    assert 0 < mask.area <= box.area
    assert right >= 0.7 * asked > 5


def test_a_region_and_the_rest_sum_to_the_z(drawn: Collection) -> None:
    path = path_of(drawn, 3)
    (word,) = drawn.explain_region(path, (0, 0, 50, 96), vocabulary=["a star"], words=1).words
    (found,) = drawn.explain('"a star"', paths=path)
    assert word.share + word.elsewhere == pytest.approx(found.literals[0].z, abs=2e-3)


def test_regions_that_are_none_are_told(drawn: Collection) -> None:
    path = path_of(drawn, 3)
    for region, message in (
        ((200, 200, 300, 300), "holds nothing of what the model sees"),
        ((1, 2, 3), "is no region"),
        (np.ones((4, 4), bool), "the mask is 4 x 4 pixels, the upright image 96 x 96"),
    ):
        with pytest.raises(UsageError, match=message):
            drawn.explain_region(path, region)
    with pytest.raises(UsageError, match="no image at gone.png"):
        drawn.explain_region("gone.png", (0, 0, 9, 9))


def test_places_of_two_images_sum_to_their_likeness(drawn: Collection) -> None:
    one, other = path_of(drawn, 3), path_of(drawn, 4)
    found = drawn.match_images(one, other)
    hits = {hit.path: hit.id for hit in drawn.mine(where="width > 0")}
    rows = [drawn.store.fetch([hits[path]], vectors=("clip",)).vectors["clip"][0] for path in (one, other)]
    mean = drawn.searcher.calibration.mean
    first, second = (row - mean for row in rows)
    likeness = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert found.score == pytest.approx(likeness, abs=1e-4)
    assert sum(each.sum() for each in found.maps) == pytest.approx(2 * found.score, abs=1e-4)
    turned = drawn.match_images(other, one)
    assert np.allclose(turned.matrix, found.matrix.T, atol=1e-6)
    assert np.allclose(found.partners(0, 1), found.matrix[1].reshape(found.grids[1]))
    assert drawn.match_images(one, one).score == pytest.approx(1, abs=1e-5)


def test_the_words_that_two_texts_share_are_told(drawn: Collection) -> None:
    found = drawn.match_texts("a red star", "a star on grass")
    assert found.words == (("red", "star"), ("star", "on", "grass"))
    assert np.unravel_index(found.matrix.argmax(), found.matrix.shape) == (1, 0)
    assert json.loads(json.dumps(found.to_json()))["words"][0] == ["red", "star"]
