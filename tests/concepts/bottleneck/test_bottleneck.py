"""Bottlenecks of a collection of drawn scenes: fitted, kept, asked, drawn, and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.collection import Collection, open_collection
from t2c_search.demo.truth import Truth
from t2c_search.demo.world import draw
from t2c_search.errors import CollectionFormatError, UsageError
from t2c_search.export.reading.bottleneck import write_bottleneck
from t2c_search.state.bottlenecks import Bottleneck, dump_bottlenecks, load_bottlenecks
from t2c_search.state.derived import write_derived
from t2c_search.types import CLIP
from tests.cli.conftest import run as t2c

SCENES = 260
RULE = "kept is what has a star or lies on brick"


def says(truth: Truth) -> str:
    return "kept" if truth.matches_text("a star") or truth.background == "brick" else "passed"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with a collection of scenes whose field derived.rule is labelled."""
    root = tmp_path_factory.mktemp("scenes")
    labels: dict[str, str] = {}
    for scene in draw(31, SCENES):
        path = root / "images" / f"{scene.index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(scene.image).save(path)
        labels[path.name] = says(scene.truth)
    location = str(root / "s.t2c")
    with open_collection("scenes", location, clip="mini", device="cpu") as scenes:
        scenes.index([root / "images"])
        for points in scenes.store.scan():
            named = [labels[Path(payload["path"]).name] for payload in points.payloads]
            write_derived(scenes.store, "derived.rule", points.ids, named)
    return location


@pytest.fixture(scope="module")
def fitted(store: str) -> Bottleneck:
    with opened(store) as scenes:
        return scenes.fit_bottleneck(
            "rule", "derived.rule", ncc=5, wordings={"kept": "one object", "passed": "two objects"}
        )


@pytest.fixture
def scenes(store: str, fitted: Bottleneck) -> Iterator[Collection]:
    with opened(store) as collection:
        yield collection


def opened(store: str) -> Collection:
    return open_collection("scenes", store, clip="mini", device="cpu")


def test_the_attributes_of_the_rule_carry_it(fitted: Bottleneck) -> None:
    heaviest = [concept for concept, weight in fitted.weighed("kept")[:2] if weight > 0]
    assert sorted(heaviest) == ["a star", "on brick"], RULE
    assert fitted.weighed("passed")[0][1] == -fitted.weighed("kept")[0][1]
    assert fitted.curve.accuracy("named concepts", 5) > 0.85
    assert fitted.gain.interpretable and fitted.verdict.startswith("the names tell")
    assert fitted.curve.accuracy("random words", 5) is None  # the mini text model knows none of them apart
    left = {each.concept: each for each in fitted.fitted.left_out}
    assert left["one object"].cosine is None and left["on a brick wall"].near in ("on brick", "on bricks")
    assert not set(left) & set(fitted.concepts)


def test_it_is_kept_with_the_collection(scenes: Collection, fitted: Bottleneck) -> None:
    kept = scenes.bottlenecks["rule"]
    assert kept.to_json() == fitted.to_json()
    json.dumps(kept.to_json())
    np.testing.assert_array_equal(kept.directions, fitted.directions)
    assert kept.to_arrow().column_names == ["class", "concept", "weight"]
    with pytest.raises(CollectionFormatError, match="fit them again"):
        load_bottlenecks(b"something else")
    with pytest.raises(CollectionFormatError):
        load_bottlenecks(dump_bottlenecks({"rule": kept})[:-200])
    scenes.fit_bottleneck("other", "derived.rule", vocabulary=["a star", "on brick", "on wood"])
    assert list(scenes.bottlenecks) == ["rule", "other"]
    scenes.remove_bottleneck("other")
    with pytest.raises(UsageError, match="no bottleneck is saved as 'other'; there are: rule"):
        scenes.predict("other")


def test_labels_are_those_of_the_weights(scenes: Collection, fitted: Bottleneck) -> None:
    found = scenes.predict("rule")
    assert len(found) == SCENES == sum(found.counts().values())
    for points in scenes.store.scan(vectors=(CLIP,)):
        scores = (points.vectors[CLIP] @ fitted.directions.T - fitted.mean) / fitted.sd
        logits = scores @ fitted.weights.T + fitted.bias
        for point, score, logit in zip(points.ids, scores, logits, strict=True):
            told = found[found.ids.index(point)]
            assert told.label == told.before == fitted.classes[logit.argmax()]
            assert told.share == pytest.approx(1 / (1 + np.exp(-logit.max())), abs=1e-4)
            parts = dict(zip(fitted.concepts, score * fitted.weights[logit.argmax()], strict=True))
            expected = sorted(parts.items(), key=lambda part: -abs(part[1]))[:5]
            assert [name for name, _ in told.contributions] == [name for name, _ in expected]
            np.testing.assert_allclose(
                [part for _, part in told.contributions], [part for _, part in expected], atol=1e-3
            )
    assert found.accuracy is not None and found.accuracy > 0.85
    some = scenes.predict("rule", '"a star" >= 1sd')
    assert set(some.ids) == {hit.id for hit in scenes.mine('"a star" >= 1sd')}


def test_an_intervention_is_a_score_that_is_given(scenes: Collection, fitted: Bottleneck) -> None:
    changed = scenes.predict("rule", set={"A star": -3, "on brick": -3})
    assert changed.counts()["kept"] < 5 and changed.changed > 30
    star = scenes.predict("rule", set={"a star": 6})
    assert star.counts()["passed"] < 5
    assert [star[at].before for at in range(9)] == [scenes.predict("rule")[at].label for at in range(9)]
    assert "before" in star.columns()
    nothing = scenes.predict("rule", set=dict.fromkeys(fitted.concepts, 0.0))
    assert len(set(nothing.labels.tolist())) == 1 and not nothing[0].contributions


def test_labels_written_filter_afterwards(scenes: Collection) -> None:
    found = scenes.predict("rule", write=True)
    assert scenes.count("derived.rule = kept").count == found.counts()["kept"]
    with pytest.raises(UsageError, match="intervention"):
        scenes.predict("rule", set={"a star": 0}, write=True)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": "a b", "field": "derived.rule"}, "one word"),
        ({"name": "x", "field": "rool"}, "no payload field"),
        ({"name": "x", "field": "format"}, "1 values of 'format'"),
        ({"name": "x", "field": "derived.rule", "ncc": 0}, "ncc 0"),
        (
            {"name": "x", "field": "derived.rule", "wordings": {"keep": "a"}},
            "'keep' is no class; there are: kept, passed",
        ),
        ({"name": "x", "field": "derived.rule", "vocabulary": ["kept", "a star"]}, "1 of 2 concepts"),
    ],
)
def test_mistakes_are_told(scenes: Collection, asked: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        scenes.fit_bottleneck(**asked)
    with pytest.raises(UsageError, match="does not weigh 'a stra'; did you mean 'a star'"):
        scenes.predict("rule", set={"a stra": 0})


def test_pictures_and_pages(fitted: Bottleneck, tmp_path: Path) -> None:
    for name in ("b.png", "b.svg", "b.html"):
        write_bottleneck(fitted, tmp_path / name)
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.width > 500
    page = (tmp_path / "b.html").read_text()
    assert "data:image/svg+xml" in page and "Left out" in page and "<script" not in page
    with pytest.raises(UsageError, match="ends in .html"):
        write_bottleneck(fitted, tmp_path / "b.txt")


def test_the_command_line(store: str, fitted: Bottleneck, tmp_path: Path) -> None:
    place = ("-c", "scenes", "--store", store)
    made = t2c(
        "bottleneck",
        "fit",
        "cli",
        "--field",
        "derived.rule",
        "--vocabulary",
        "a star,on brick,on wood,at night",
        *place,
    )
    assert made.code == 0, made.err
    assert (
        "saved cli: 2 classes of derived.rule" in made.out
        and "named concepts" in made.out
        and "the names tell" in made.out
    )
    shown = t2c("bottleneck", "show", "cli", "--class", "kept", "-o", tmp_path / "k.png", *place)
    assert "a star" in shown.out and (tmp_path / "k.png").is_file()
    told = t2c("bottleneck", "predict", "cli", "--set", "a star=-2", "on brick=-2", "-n", "3", *place)
    assert "with a star = -2, on brick = -2" in told.out and "before" in told.out
    assert t2c("bottleneck", "predict", "cli", "--json", *place).json["images"] == SCENES
    assert [each["name"] for each in t2c("bottleneck", "list", "--json", *place).json["bottlenecks"]] == ["rule", "cli"]
    assert t2c("bottleneck", "remove", "cli", *place).code == 0
    for wrong in (("show", "cli"), ("predict", "rule", "--set", "a star"), ("show", "rule", "--class", "x")):
        failed = t2c("bottleneck", *wrong, *place)
        assert failed.code != 0 and failed.err.startswith("t2c: ")
