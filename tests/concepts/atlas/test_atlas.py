"""A collection's map: every image once, in clusters that are named for what they show, written back to be filtered by."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.collection import Collection, open_collection
from t2c_search.concepts.atlas import atlas as atlases
from t2c_search.concepts.atlas.atlas import AtlasOptions, draw_atlas
from t2c_search.concepts.vocabulary import vocabulary_of
from t2c_search.demo.world import draw
from t2c_search.errors import UsageError
from t2c_search.stores import open_store
from t2c_search.types import Points
from tests.query.worlds import drawn_scenes

COUNT = 150
SHAPES = "circle,square,triangle,diamond,star,heart,cross,ring,crescent,arrow"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """Drawn scenes in a collection."""
    folder = tmp_path_factory.mktemp("scenes")
    for scene in draw(31, COUNT):
        Image.fromarray(scene.image).save(folder / f"{scene.index}.png")
    with open_collection("scenes", ":memory:", clip="mini", backbone="mini", device="cpu") as collection:
        assert collection.index([folder]).indexed == COUNT
        yield collection


def test_clusters_are_named_for_what_they_show_more_of() -> None:
    world = drawn_scenes({"memory": open_store(":memory:", "drawn")}, COUNT)  # ids that do not depend on a folder
    words = vocabulary_of(((shape, "") for shape in SHAPES.split(",")), "shapes")
    atlas = draw_atlas(world.searcher, None, words, AtlasOptions(clusters=10, layout="pca"))
    shown = [{thing.shape for thing in scene.truth.things} for scene in draw(7, COUNT)]
    shown[-(COUNT // 50) :] = shown[: COUNT // 50]  # which are there twice
    truth = dict(zip(world.oracle.ids, shown, strict=True))
    overall = Counter(shape for shapes in shown for shape in shapes)
    right = 0
    for at, cluster in enumerate(atlas.clusters):
        own = Counter(shape for row in np.flatnonzero(atlas.labels == at) for shape in truth[atlas.ids[row]])
        excess = {shape: own[shape] / cluster.size - overall[shape] / COUNT for shape in overall}
        right += cluster.traits[0].concept == max(excess, key=lambda shape: excess[shape])
    assert right >= 0.9 * len(atlas.clusters)


def test_every_image_is_there_once_and_the_largest_cluster_is_first(scenes: Collection) -> None:
    atlas = scenes.map(vocabulary=SHAPES, clusters=10, layout="pca")
    assert list(atlas.ids) == sorted(hit.id for hit in scenes.mine(where="width > 0"))
    assert atlas.places.shape == (COUNT, 2) and np.isfinite(atlas.places).all()
    sizes = [cluster.size for cluster in atlas.clusters]
    assert sizes == sorted(sizes, reverse=True) == [int((atlas.labels == at).sum()) for at in range(len(sizes))]


def test_a_map_is_a_table_and_plain_values(scenes: Collection) -> None:
    atlas = scenes.map(vocabulary=SHAPES, layout="pca")
    table = atlas.to_arrow()
    assert table.column_names == ["id", "x", "y", "cluster"]
    assert table.num_rows == COUNT == len(atlas)
    told = atlas.to_json()
    assert (told["images"], told["layout"], told["fitted"], told["field"]) == (COUNT, "pca", COUNT, None)
    counted = Counter(table["cluster"].to_pylist())
    assert {each["name"]: each["size"] for each in told["clusters"]} == dict(counted)
    assert next(each["traits"][0] for each in told["clusters"] if each["traits"]).keys() == {"concept", "g"}


def test_the_same_seed_draws_the_same_map_of_what_is_asked_for(scenes: Collection) -> None:
    one, again = (scenes.map('"a star" top 40%', vocabulary=SHAPES, layout="pca", seed=4) for _ in range(2))
    assert set(one.ids) == {hit.id for hit in scenes.mine('"a star" top 40%')}
    np.testing.assert_array_equal(one.places, again.places)
    np.testing.assert_array_equal(one.labels, again.labels)


def test_images_beyond_the_fitted_ones_are_placed(scenes: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlases, "MOST_FITTED", 60)
    atlas = scenes.map(vocabulary=SHAPES, clusters=5, layout="pca")
    assert (atlas.fitted, len(atlas)) == (60, COUNT)
    assert atlas.told() == (
        "150 images in 5 clusters, laid out by their first two principal components, fitted on 60 of them"
    )
    rows = np.concatenate([points.vectors["clip"] for points in scenes.searcher.read()])
    mean = rows[:60].mean(0)
    apart = (rows - mean) / np.linalg.norm(rows - mean, axis=1, keepdims=True)
    axes = np.linalg.svd(apart[:60] - apart[:60].mean(0))[2][:2]
    expected = (apart - apart[:60].mean(0)) @ axes.T
    np.testing.assert_allclose(np.abs(atlas.places), np.abs(expected), atol=1e-4)


class Many:
    """Stands in for a searcher of so many random vectors (256,) and a text model; vectors are made when they are read."""

    def __init__(self, count: int) -> None:
        self.count, self.texts = count, self

    def rows(self, words: Sequence[str]) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(len(words), 256)).astype(np.float32)

    def read(self, tree: object) -> Iterator[Points]:
        for start in range(0, self.count, 1000):
            rows = np.random.default_rng(start).normal(size=(1000, 256)).astype(np.float32)
            yield Points([f"{start + at:036d}" for at in range(1000)], vectors={"clip": rows})


def test_of_an_image_no_more_is_held_than_id_place_and_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlases, "MOST_FITTED", 2000)
    words = vocabulary_of(((f"word {number}", "") for number in range(200)), "words")

    def peak(count: int) -> int:
        tracemalloc.start()
        drawn = draw_atlas(Many(count), None, words, AtlasOptions(layout="pca"))  # type: ignore[arg-type]
        assert len(drawn) == count
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2000)  # imports
    held = (peak(24_000) - peak(4000)) / 20_000
    assert held < 250, "bytes an image; its vector alone has 1024"


def test_clusters_that_are_written_back_are_found_by_expressions(scenes: Collection) -> None:
    atlas = scenes.map(vocabulary=SHAPES, clusters=6, layout="pca", write="topic")
    assert atlas.field == "derived.topic"
    for at, cluster in enumerate(atlas.clusters):
        found = {hit.id for hit in scenes.mine(where=f'derived.topic = "{cluster.name}"')}
        assert found == {atlas.ids[row] for row in np.flatnonzero(atlas.labels == at)}
    assert dict(scenes.facets("derived.topic")) == {each.name: each.size for each in atlas.clusters}


def test_what_cannot_be_is_refused(scenes: Collection, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 clusters cannot be made; expected 2 to 200"):
        scenes.map(clusters=1)
    with pytest.raises(UsageError, match="seed -1 cannot be used"):
        scenes.map(seed=-1)
    with pytest.raises(UsageError, match="there is no layout 'tsne'"):
        scenes.map(layout="tsne")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'two words' names no field to write"):
        scenes.map(write="two words")
    with pytest.raises(UsageError, match="a map is made of at least 3 images, and 0 match"):
        scenes.map(where="width > 5000")
    atlas = scenes.map(vocabulary=SHAPES, layout="pca")
    with pytest.raises(UsageError, match=r"ends in \.html or \.png"):
        scenes.write_map(atlas, tmp_path / "map.svg")
    with pytest.raises(UsageError, match="-1 thumbnails cannot be made"):
        scenes.write_map(atlas, tmp_path / "map.html", thumbnails=-1)


def test_three_images_are_enough(scenes: Collection) -> None:
    ids = [hit.path for hit in scenes.search("a star", limit=3)]
    atlas = scenes.map(where="path IN (" + ", ".join(f'"{each}"' for each in ids) + ")", vocabulary=SHAPES)
    assert (len(atlas), atlas.layout) == (3, "pca")
