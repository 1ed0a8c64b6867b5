"""What a collection of drawn scenes and texts have in common; models compared; the commands."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.collection import Collection, open_collection
from t2c_search.demo.world import draw
from t2c_search.errors import UsageError
from t2c_search.explain.mutual.knowledge import Estimate, Sharing
from t2c_search.export.explaining.parts import write_parts
from tests.cli.conftest import run

SEED, SCENES = 4712, 140  # no recipe's seed
SHAPES = ("a star: star", "a heart: heart", "a ring: ring", "a circle: circle")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An embedded store of drawn scenes, those of one object with its shape, through ``mini:cnn``."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "scenes").mkdir()
    with (folder / "table.csv").open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(["image", "caption", "shape"])
        for scene in draw(SEED, SCENES):
            Image.fromarray(scene.image).save(folder / "scenes" / f"{scene.index}.png")
            things = scene.truth.things
            table.writerow([f"{scene.index}.png", "", things[0].shape if len(things) == 1 else "several"])
    with open_collection("drawn", str(folder / "s.t2c"), clip="mini", backbone="mini:cnn", device="cpu") as images:
        images.index([folder / "scenes"], captions=folder / "table.csv")
    return str(folder / "s.t2c")


@pytest.fixture(scope="module")
def drawn(store: str) -> Iterator[Collection]:
    with open_collection("drawn", store, device="cpu") as images:
        yield images


def test_images_share_more_with_the_text_that_is_true_of_them(drawn: Collection) -> None:
    stars = {"where": 'shape = "star"', "most": 6}
    true, untrue = drawn.knowledge("a star", **stars), drawn.knowledge("a ring", **stars)
    assert len(true.images) == len(untrue.images) == min(6, drawn.count(where='shape = "star"').count)
    assert true.estimate().mean > 2 * untrue.estimate().mean
    assert true.estimate("shared").mean > true.images[0].sharing.by_chance + 3
    name, count = true.shared()[0]
    assert "star" in name and count >= len(true.images) - 1
    assert all("star" in name for name in true.said[:8])
    assert "a star" not in true.said  # the text itself is no descriptor of it
    low, high = true.estimate().low, true.estimate().high
    assert low is not None and high is not None and low <= true.estimate().mean <= high


def test_an_image_s_parts_have_descriptors_of_their_own_and_lie_on_the_map(drawn: Collection) -> None:
    found = drawn.knowledge("a star", where='shape = "star"', most=3)
    assert found.failures == ()
    for image in found.images:
        names = [name for part in image.parts for name in part.descriptors]
        assert len(names) == len(set(names)) == image.sharing.seen == len(found.said)
        assert set(image.shared) == set(names) & set(found.said)
        assert len(image.shared) == image.sharing.shared
        there, places = np.unique(image.map[image.map >= 0], return_counts=True)
        assert [(part.number, part.places) for part in image.parts] == list(
            zip(there.tolist(), places.tolist(), strict=True)
        )
    alone = drawn.knowledge("a star", ids=found.images[0].id)
    assert [image.id for image in alone.images] == [found.images[0].id]
    assert alone.estimate() == Estimate(alone.images[0].sharing.mutual_information, None, None)
    assert drawn.knowledge("a star", paths=found.images[0].path).to_json() == alone.to_json()


def test_results_are_plain_values_and_tables(drawn: Collection) -> None:
    found = drawn.knowledge("a star", most=2)
    plain = json.loads(json.dumps(found.to_json()))
    assert [image["shared"] for image in plain["images"]] == [len(image.shared) for image in found.images]
    assert plain["images"][0]["shared_descriptors"] == list(found.images[0].shared)
    assert plain["mutual_information"]["mean"] == found.estimate().mean
    table = found.to_arrow().to_pydict()
    assert table["id"] == [image.id for image in found.images]
    assert table["auc"] == [image.sharing.auc for image in found.images]
    assert set(Sharing.__slots__) < set(table)


def test_an_image_that_is_gone_is_told_and_stops_nothing(drawn: Collection, tmp_path: Path) -> None:
    two = drawn.knowledge("a heart", where='shape = "heart"', most=2)
    gone = Path(two.images[0].path)
    aside = gone.rename(tmp_path / "aside.png")
    try:
        left = drawn.knowledge("a heart", where='shape = "heart"', most=2)
        assert [image.path for image in left.images] == [two.images[1].path]
        assert [failure.path for failure in left.failures] == [str(gone)]
        assert str(gone) not in left.failures[0].reason
        with pytest.raises(UsageError, match="none of 1 images can be read; the first, .*png"):
            drawn.knowledge("a heart", paths=gone)
        compared = drawn.compare_models("mini:cnn", SHAPES, field="shape", most=2)
        assert str(gone) in [failure.path for failure in compared.failures]
    finally:
        aside.rename(gone)


def test_a_picture_shows_the_parts_where_they_lie(drawn: Collection, tmp_path: Path) -> None:
    found = drawn.knowledge("a star", where='shape = "star"', most=1)
    write_parts(found, tmp_path / "parts.png")
    picture = np.asarray(Image.open(tmp_path / "parts.png").convert("RGB")).astype(int)
    colourful = np.abs(picture - picture.mean(2, keepdims=True)).max(2) > 20  # all else is grey
    share = (found.images[0].map >= 0).mean()
    width = picture.shape[1]
    assert 0.3 * share < colourful[:, : width // 3].mean() < share
    assert not colourful[:, width // 2 :].any()
    with pytest.raises(UsageError, match="png, .svg"):
        write_parts(found, tmp_path / "parts.txt")


def test_an_interval_holds_the_mean_of_other_draws_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        found = Estimate.of(rng.exponential(size=40))
        assert found.low is not None and found.high is not None
        held += found.low <= 1 <= found.high
    assert 0.85 < held / 200 < 0.99
    assert str(Estimate(0.0123456, 0.01, 0.02)) == "0.0123 (0.0100 to 0.0200)"
    assert str(Estimate(0.5, None, None)) == "0.500"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"descriptors": "a,b,c"}, "3 descriptors are too few"),
        ({"side": 100}, "too few for a side of 100"),
        ({"where": 'shape = "dodecahedron"'}, "no image matches"),
        ({"paths": "/nowhere.png"}, "no image at /nowhere.png"),
        ({"ids": "abc"}, "'abc' is no id of an image"),
        ({"ids": "abc", "where": "width > 1"}, "by ids or paths, or by constraints, not both"),
        ({"most": 0}, "most"),
    ],
)
def test_mistakes_are_told(drawn: Collection, given: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        drawn.knowledge("a star", **given)  # type: ignore[arg-type]


def test_models_are_ranked_by_what_they_share_with_accuracy_beside(drawn: Collection) -> None:
    found = drawn.compare_models(["mini:vit", "mini"], SHAPES, field="shape", most=4)
    first, second = found.models
    assert (first.model, second.model) == ("mini", "mini:vit")
    assert first.behind is None and second.behind is not None
    assert second.behind.low is not None and second.behind.low > 0
    assert second.behind.mean == pytest.approx(first.mutual_information.mean - second.mutual_information.mean)
    assert first.accuracy is not None and second.accuracy is not None
    assert first.accuracy.mean > second.accuracy.mean
    table = found.to_arrow().to_pydict()
    assert table["model"] == ["mini", "mini:vit"] and table["behind"][0] is None
    assert [each["model"] for each in json.loads(json.dumps(found.to_json()))["models"]] == table["model"]


def test_without_a_field_the_collection_s_own_vectors_say_the_classes(drawn: Collection) -> None:
    found = drawn.compare_models("mini:cnn", SHAPES, most=2)
    assert found.images == 8 and found.models[0].accuracy is None


@pytest.mark.parametrize(
    ("models", "given", "told"),
    [
        ([], {}, "name the models"),
        (["mini", "mini"], {}, "each once"),
        (["mini"], {"field": "shap"}, "shap"),
        (["mini"], {"classes": ["yes", "no"], "field": "shape"}, "0 images have one of the classes"),
    ],
)
def test_comparisons_that_cannot_be_made_are_told(
    drawn: Collection, models: list[str], given: dict[str, object], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        drawn.compare_models(models, **{"classes": SHAPES, **given})  # type: ignore[arg-type]


def test_the_commands_tell_the_same(store: str, drawn: Collection, tmp_path: Path) -> None:
    path = drawn.knowledge("a star", where='shape = "star"', most=1).images[0].path
    drawn.close()
    where = ("-c", "drawn", "--store", store)
    told = run("knowledge", "a star", "--path", path, *where, "--save", tmp_path / "why.svg")
    assert told.code == 0 and "star" in told.out and "shared:" in told.out
    assert (tmp_path / "why.svg").read_text().startswith("<?xml")
    several = run("knowledge", "a star", "--where", 'shape = "star"', "-n", "3", *where, "--json").json
    assert several["text"] == "a star" and len(several["images"]) <= 3
    table = run("compare-models", "--models", "mini:cnn", "--classes", "a star,a ring", "-n", "2", *where)
    assert table.code == 0 and "mini:cnn" in table.out and "information in nats" in table.out
    assert run("knowledge", "a star", "--descriptors", "a,b", *where).code == 2
    assert run("compare-models", tmp_path, "--models", "mini", "--classes", "a,b", *where).code == 2


def test_models_are_compared_on_folders_whose_names_are_the_classes(tmp_path: Path) -> None:
    for scene in draw(SEED + 1, 150):
        if len(scene.truth.things) == 1 and (shape := scene.truth.things[0].shape) in ("star", "heart"):
            (tmp_path / shape).mkdir(exist_ok=True)
            Image.fromarray(scene.image).save(tmp_path / shape / f"{scene.index}.png")
    asked = ("--models", "mini", "--classes", ",".join(SHAPES[:2]), "--clip", "mini", "-n", "2", "--json")
    found = run("compare-models", tmp_path, *asked).json
    assert found["images"] == 4 and found["models"][0]["accuracy"]["mean"] == 1.0
