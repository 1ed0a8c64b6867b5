"""``t2c map``: clusters as a table, JSON, a page, a picture and a field; mistakes before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from t2c_search.collection import open_collection
from t2c_search.demo.world import draw
from tests.cli.conftest import Outcome

T2C = Callable[..., Outcome]
WORDS = ("--vocabulary", "circle,square,triangle,star,heart,ring")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    root = tmp_path_factory.mktemp("scenes")
    for scene in draw(12, 40):
        Image.fromarray(scene.image).save(root / f"{scene.index}.png")
    with open_collection("scenes", str(root / "s.t2c"), clip="mini", backbone="mini") as images:
        assert images.index([root]).indexed == 40
    return ["-c", "scenes", "--store", root / "s.t2c", "--layout", "pca"]


def test_clusters_are_told_as_a_table_and_as_json(t2c: T2C, scenes: list[object]) -> None:
    told = t2c("map", *scenes, *WORDS, "--json").json
    assert (told["collection"], told["images"], told["layout"], told["field"]) == ("scenes", 40, "pca", None)
    number = len(told["clusters"])
    assert 1 < number <= 4 and sum(each["size"] for each in told["clusters"]) == 40
    shown = t2c("map", *scenes, *WORDS).out
    first, *lines = shown.splitlines()
    assert first.startswith(f"40 images in {number} clusters, laid out by their first two principal components")
    for each, line in zip(told["clusters"], lines[1:], strict=True):
        assert line.startswith(each["name"]) and f" {each['size']} " in line
        assert all(f"{trait['concept']} {trait['g']:.1f}" in line for trait in each["traits"][:4])


def test_a_map_is_written_as_page_and_picture_and_to_a_field(t2c: T2C, scenes: list[object], tmp_path: Path) -> None:
    page, picture = tmp_path / "new" / "map.html", tmp_path / "map.png"
    asked = ["map", *scenes, *WORDS, '"a star" top 50%', "--clusters", 3]
    outcome = t2c(*asked, "-o", page, "--write", "topic")
    assert outcome.err == f"map: {page}\n"
    assert outcome.out.splitlines()[-1] == "written to derived.topic of each image"
    assert "&quot;a star&quot; top 50%" in page.read_text() and "derived.topic" in page.read_text()
    assert t2c(*asked, "-o", picture).code == 0
    with Image.open(picture) as shown:
        assert shown.format == "PNG" and shown.width > 1000
    names = [each["name"] for each in t2c(*asked, "--json").json["clusters"]]
    counted = t2c("facets", *scenes[:4], "derived.topic", "--json").json["values"]
    assert {each["value"] for each in counted} == set(names)
    assert sum(each["count"] for each in counted) == 20


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["-o", "map.svg"], "expected a name that ends in .html or .png"),
        (["--clusters", 1], "1 clusters cannot be made; expected 2 to 200"),
        (["--write", "a.b"], "'a.b' names no field to write"),
        (["--where", "width > 9000"], "a map is made of at least 3 images, and 0 match"),
    ],
)
def test_mistakes_are_told(t2c: T2C, scenes: list[object], wrong: list[object], said: str) -> None:
    outcome = t2c("map", *scenes, *WORDS, *wrong)
    assert outcome.code == 2 and said in " ".join(outcome.err.split())
    assert not outcome.out
