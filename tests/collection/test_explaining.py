"""Explanations of a collection's images: maps over the upright image, from kept factors and opened images alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.collection import Collection, open_collection
from t2c_search.demo.truth import Truth
from t2c_search.demo.words import with_article
from t2c_search.demo.world import draw
from t2c_search.errors import ImageError, UsageError
from t2c_search.explain.explanation import REST, Explanation

SCENES = 40


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Truth]:
    """Drawn scenes as files, and what is in them."""
    folder = tmp_path_factory.mktemp("scenes")
    truths = {}
    for scene in draw(91, SCENES):
        path = folder / f"{scene.index:02d}.png"
        Image.fromarray(scene.image).save(path)
        truths[path.as_posix()] = scene.truth
    return truths


@pytest.fixture(scope="module")
def drawn(scenes: dict[str, Truth]) -> Iterator[Collection]:
    with open_collection("drawn", ":memory:", clip="mini", device="cpu") as images:
        images.index(list(scenes))
        yield images


@pytest.fixture(scope="module")
def kept(scenes: dict[str, Truth], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    store = str(tmp_path_factory.mktemp("kept") / "s.t2c")
    with open_collection("kept", store, clip="mini", device="cpu") as images:
        images.index(list(scenes), explainable=True)
        yield images


def asked(truth: Truth) -> tuple[str, tuple[int, int, int, int]]:
    """A text about a scene's largest object, and the object's box."""
    thing = max(truth.things, key=lambda each: int(each.mask.sum()))
    return with_article(f"{thing.colour} {thing.shape}"), thing.box


def is_hit(image: Explanation, box: tuple[int, int, int, int]) -> bool:
    """Tell whether the map's strongest place touches a box in pixels."""
    rows, columns = image.grid
    row, column = divmod(int(image.literals[0].map.argmax()), columns)
    width, height = image.size
    left, top = column / columns * width, row / rows * height
    return left < box[2] and left + width / columns > box[0] and top < box[3] and top + height / rows > box[1]


def test_maps_point_at_what_is_asked_for_kept_or_opened(
    drawn: Collection, kept: Collection, scenes: dict[str, Truth]
) -> None:
    alone = {path: truth for path, truth in scenes.items() if len(truth.things) <= 2}
    hits = 0
    for path, truth in alone.items():
        text, box = asked(truth)
        (opened,) = drawn.explain(text, paths=path, counterfactual=False)
        (stored,) = kept.explain(text, paths=path, counterfactual=False)
        assert opened.size == stored.size == (96, 96)
        assert opened.path == path
        hits += is_hit(opened, box)
        one, other = opened.literals[0].map.ravel(), stored.literals[0].map.ravel()
        assert np.corrcoef(one, other)[0, 1] > 0.98
        assert stored.view.left == pytest.approx(opened.view.left, abs=0.01)
    assert hits >= 0.85 * len(alone)


def test_kept_factors_open_no_file(kept: Collection, scenes: dict[str, Truth], tmp_path: Path) -> None:
    path = next(iter(scenes))
    before = kept.explain("a star", paths=path)[0]
    Path(path).rename(tmp_path / "away.png")
    try:
        after = kept.explain("a star", paths=path)[0]
        with pytest.raises(ImageError, match=f"{path}: "):
            kept.explain("a star", paths=path, method="banzhaf")
    finally:
        (tmp_path / "away.png").rename(path)
    assert np.array_equal(before.literals[0].map, after.literals[0].map)


def test_the_hit_of_a_rank_is_that_of_a_search(drawn: Collection) -> None:
    query = '"a star" AND NOT "on grass"'
    hits = drawn.search(query, limit=3)
    found = drawn.explain(query, rank=3)
    assert [each.id for each in found] == [hits[2].id]
    assert (found[0].rank, found[0].score) == (3, pytest.approx(hits[2].score))
    several = drawn.explain(query, hits=hits.hits)
    assert [each.id for each in several] == [hit.id for hit in hits]
    assert sum(literal.contribution for literal in several[0].literals) == pytest.approx(hits[0].score, abs=1e-9)
    assert not drawn.explain(query, hits=())
    assert drawn.explain(query, ids=hits[1].id)[0].rank == 2
    assert drawn.explain(query, hits=hits[1])[0].id == hits[1].id


def test_words_and_the_rest_sum_to_the_z(drawn: Collection) -> None:
    (found,) = drawn.explain("a red star on grass")
    (literal,) = found.literals
    assert [word.word for word in literal.words] == ["red", "star", "on", "grass", REST]
    assert sum(word.share for word in literal.words) == pytest.approx(literal.z, abs=1e-4)
    assert np.allclose(np.sum([word.map for word in literal.words], axis=0), literal.map, atol=1e-4)
    (turned,) = drawn.explain('NOT "a red star on grass"', ids=found.id)[0].literals
    assert [word.share for word in turned.words] == pytest.approx([-word.share for word in literal.words])
    assert not drawn.explain(f'like("{found.id}")')[0].literals[0].words


def test_the_best_region_is_explained_by_its_places(kept: Collection) -> None:
    query = 'anywhere("a star") AND "a ring" AND NOT anywhere("on grass")'
    hits = kept.search(query, limit=SCENES)
    for hit, found in zip(hits, kept.explain(query, hits=hits), strict=True):
        assert (found.rank, found.score) == (hit.rank, pytest.approx(hit.score, abs=1e-9))
        assert sum(literal.contribution for literal in found.literals) == pytest.approx(hit.score, abs=1e-9)
        region = found.literals[0]
        assert region.map.size * region.map.max() == pytest.approx(region.z, abs=0.05)
        assert not region.words
    without = {hit.id: hit.rank for hit in kept.search('"a ring" AND NOT anywhere("on grass")', limit=SCENES)}
    assert [each.literals[0].rank_without for each in kept.explain(query, hits=hits)] == [
        without[hit.id] for hit in hits
    ]


def test_plain_values_hold_the_maps(drawn: Collection) -> None:
    found = drawn.explain('"a star" AND NOT "on grass"')
    told = json.loads(json.dumps(found.to_json()))
    (image,) = told["images"]
    assert np.array(image["literals"][0]["map"]).shape == tuple(image["grid"])
    assert image["view"] == {
        side: pytest.approx(at, abs=0.01) for side, at in zip(image["view"], (0, 0, 1, 1), strict=True)
    }
    assert image["counterfactual"]["rank"] == 1
    assert len(found.to_arrow()) == 2


def test_turned_and_cropped_files_have_the_map_of_the_upright_image(tmp_path: Path, scenes: dict[str, Truth]) -> None:
    with Image.open(next(iter(scenes))) as opened:
        upright = opened.convert("RGB").crop((0, 0, 96, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.save(tmp_path / "upright.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    (tmp_path / "more").mkdir()
    for number, scene in enumerate(draw(92, 6)):
        Image.fromarray(scene.image).save(tmp_path / "more" / f"{number}.png")
    with open_collection("turned", ":memory:", clip="mini", device="cpu") as images:
        images.index([tmp_path])
        one, other = (images.explain("a star", paths=tmp_path / name)[0] for name in ("upright.png", "turned.png"))
    assert one.size == other.size == (96, 60)
    assert one.view == other.view
    assert np.allclose(one.literals[0].map, other.literals[0].map, atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"rank": 99}, "the expression finds 40 images, and so none of rank 99"),
        ({"rank": 0}, "rank 0 cannot be used"),
        ({"ids": "x"}, "'x' is no id of an image"),
        ({"ids": "00000000-0000-0000-0000-000000000000"}, "has no image of the id '00000000"),
        ({"paths": "gone.jpg"}, "has no image at gone.jpg"),
        ({"method": "magic"}, "no method 'magic'"),
        ({"query": "width > 3"}, "asks for no meaning"),
    ],
)
def test_mistakes_are_told(drawn: Collection, asked: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        drawn.explain(**{"query": "a star", **asked})


def test_vectors_made_elsewhere_cannot_be_explained(tmp_path: Path, scenes: dict[str, Truth]) -> None:
    folder = tmp_path / "vectors"
    folder.mkdir()
    rows = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    paths = list(scenes)[:4]
    np.save(folder / "image_embeddings.npy", rows)
    (folder / "image_names.txt").write_text("".join(f"{path}\n" for path in paths))
    np.save(folder / "concept_embeddings.npy", rows[:2])
    (folder / "concept_names.txt").write_text("a dog\na cat\n")
    with open_collection("made", ":memory:", clip=f"precomputed:{folder}") as images:
        images.index(paths)
        with pytest.raises(UsageError, match="sees no image"):
            images.explain("a dog")
