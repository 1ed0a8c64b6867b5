"""A map's page is whole in itself, bounded, and harmless; in a real browser, what the lasso chooses is what it writes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image

from t2c_search.collection import open_collection
from t2c_search.concepts.atlas.atlas import Atlas, AtlasCluster
from t2c_search.concepts.atlas.naming import Trait
from t2c_search.errors import UsageError
from t2c_search.export.colours import group_colours
from t2c_search.export.reading import map_page
from t2c_search.export.reading.map_page import MapPage, write_map_page
from t2c_search.export.reading.map_picture import write_map_picture
from tests.export.browser import Browser, open_browser

HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=document.title='run'>\"\\{notes}\u202eeman"
COUNT = 300


class Parsed(HTMLParser):
    """A page's elements and what stands in them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_bytes().decode()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        key = attributes.get("id") or tag
        self.texts[key] = self.texts.get(key, "") + data

    @property
    def data(self) -> dict[str, Any]:
        return dict(json.loads(self.texts["data"]))


def an_atlas(names: Sequence[str] = ("dog", "lake", "snow"), count: int = COUNT) -> Atlas:
    rng = np.random.default_rng(2)
    labels = np.sort(rng.integers(0, len(names), count)).astype(np.int32)
    places = (rng.normal(size=(count, 2)) + 5 * rng.normal(size=(len(names), 2))[labels]).astype(np.float32)
    clusters = tuple(
        AtlasCluster(name, int((labels == at).sum()), (Trait(name, 1.25), Trait("grass", 0.5)))
        for at, name in enumerate(names)
    )
    order = rng.permutation(count)
    return Atlas(
        [f"id {at}" for at in range(count)], places[order], labels[order], clusters, "pca", count, "the words given"
    )


def a_path(point_id: str) -> str:
    number = int(point_id.removeprefix("id "))
    return f"/photos/{number % 7}/{number}.jpg"


def paths_of(ids: Sequence[str]) -> Iterator[str]:
    return map(a_path, ids)


def test_a_page_is_whole_in_itself_and_runs_its_own_script_alone(tmp_path: Path) -> None:
    names = (HOSTILE, "lake")
    write_map_page(
        an_atlas(names),
        lambda ids: (f"/{HOSTILE}/{each}\n{HOSTILE}" for each in ids),
        MapPage(HOSTILE, HOSTILE),
        tmp_path / "m.html",
    )
    parsed = Parsed(tmp_path / "m.html")
    assert [tag for tag, _ in parsed.tags].count("script") == 2, "the data, and what shows it"
    assert not {"link", "iframe", "object", "embed", "base", "form", "svg"} & {tag for tag, _ in parsed.tags}
    assert not any(name.startswith("on") or name in ("src", "href") for _, given in parsed.tags for name in given)
    policy = next(given["content"] for tag, given in parsed.tags if tag == "meta" and "http-equiv" in given)
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not set("\u202e") & set(parsed.source)
    assert parsed.data["clusters"][0]["name"] == HOSTILE
    with open_browser(tmp_path / "profile") as browser:
        browser.show(tmp_path / "m.html")
        assert browser.run("document.querySelectorAll('#legend button').length") == 2
        browser.click("#legend button")
        shown = browser.run("document.body.innerText")
        assert "\\u202eeman" in shown and "\u202e" not in shown
        assert browser.run("document.querySelectorAll('img[src=x]').length + document.scripts.length") == 2
        assert browser.run("document.title").startswith("</script>"), "nothing of it ran"


def test_places_and_paths_come_back_as_they_were(tmp_path: Path) -> None:
    atlas = an_atlas()
    write_map_page(atlas, paths_of, MapPage("m"), tmp_path / "m.html")
    data = Parsed(tmp_path / "m.html").data
    x, y = (np.frombuffer(base64.b64decode(data[axis]), "<u2").astype(float) for axis in "xy")
    folder = np.frombuffer(base64.b64decode(data["folder"]), "<u4")
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(data["cluster"]), "u1"), atlas.labels)
    assert [data["folders"][at] + name for at, name in zip(folder, data["names"], strict=True)] == list(
        map(a_path, atlas.ids)
    )
    assert len(data["folders"]) == 7
    step = np.ptp(atlas.places, axis=0).max() / 65535  # one step for both axes: no direction is stretched
    for column, places, sign in ((x, atlas.places[:, 0], 1), (y, atlas.places[:, 1], -1)):
        told = sign * column * step
        np.testing.assert_allclose(told - told.mean(), places - places.mean(), atol=step)


def test_a_page_is_bounded_and_says_what_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    files = []
    for number in range(20):
        files.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(rng.integers(0, 255, (96, 96, 3), np.uint8)).save(files[-1])
    target = tmp_path / "m.html"

    def found(ids: Sequence[str]) -> Iterator[str]:
        numbers = (int(each.removeprefix("id ")) for each in ids)
        return (files[number] if number < 20 else "/gone.jpg" for number in numbers)

    def size_and_notes(thumbnails: int = 2000) -> tuple[dict[str, Any], str]:
        write_map_page(an_atlas(), found, MapPage("m", thumbnails=thumbnails), target)
        parsed = Parsed(target)
        return parsed.data, parsed.texts["p"]

    data, notes = size_and_notes()
    assert sorted(map(int, data["thumbnails"])) == list(range(20))
    assert "20 images have a thumbnail in the page, the others a name; 280 could not be read." in notes
    assert size_and_notes(thumbnails=0)[0]["thumbnails"] == {}
    monkeypatch.setattr(map_page, "_MOST_BYTES", 60_000)
    data, notes = size_and_notes()
    assert 5 < len(data["thumbnails"]) < 20
    assert sum(map(len, data["thumbnails"].values())) < 60_000
    monkeypatch.setattr(map_page, "_MOST_POINTS", 100)
    data, notes = size_and_notes()
    assert len(data["names"]) == 100
    assert "Shown are 100 of them, an even sample" in notes
    monkeypatch.setattr(map_page, "_MOST_PATHS", 500)
    assert 10 < len(size_and_notes()[0]["names"]) < 50


def test_thumbnails_go_round_the_clusters() -> None:
    labels = np.array([0, 0, 0, 0, 1, 2, 1], np.int32)
    assert map_page._spread(labels) == [0, 4, 5, 1, 6, 2, 3]


def lasso(browser: Browser, polygon: Sequence[tuple[float, float]]) -> None:
    browser.click("#lasso")
    browser.drag(polygon)


def chosen(browser: Browser) -> list[str]:
    listed = browser.run("document.getElementById('choice').hidden ? '' : document.getElementById('list').value")
    return [line for line in str(listed).split("\n") if line]


def on_screen(atlas: Atlas, width: int, height: int) -> np.ndarray:
    """Where the page draws each image when all of the map is shown: (n, 2) pixels of the canvas."""
    low, high = atlas.places.min(0), atlas.places.max(0)
    scale = min(width, height) * 0.88 / float((high - low).max())
    return np.array([width, height]) / 2 + (atlas.places - (low + high) / 2) * scale * [1, -1]


def test_the_lasso_writes_what_it_holds(tmp_path: Path) -> None:
    atlas = an_atlas()
    write_map_page(atlas, paths_of, MapPage("m"), tmp_path / "m.html")
    polygon = [(120.0, 130.0), (560.0, 90.0), (420.0, 330.0), (600.0, 610.0), (240.0, 560.0), (330.0, 340.0)]
    with open_browser(tmp_path / "profile") as browser:
        browser.show(tmp_path / "m.html")
        width, height = browser.run(
            "[document.getElementById('map').clientWidth, document.getElementById('map').clientHeight]"
        )
        lasso(browser, polygon)
        pixels = on_screen(atlas, width, height)
        sure = [Outline(np.array(polygon)).contains_points(pixels, radius=radius) for radius in (-0.5, 0.5)]
        inside, near = sure[0] & sure[1], sure[0] != sure[1]
        expected = {a_path(atlas.ids[at]) for at in np.flatnonzero(inside)}
        doubtful = {a_path(atlas.ids[at]) for at in np.flatnonzero(near)}
        listed = chosen(browser)
        assert 20 < len(expected) < COUNT - 20
        assert set(listed) ^ expected <= doubtful and len(doubtful) < 5
        assert len(listed) == len(set(listed))
        assert browser.run("document.getElementById('choice-title').textContent") == f"{len(listed)} images chosen"
        expression = browser.run("document.getElementById('expression').value")
        assert expression == "path IN (" + ", ".join(f'"{each}"' for each in listed) + ")"
        browser.click("#clear")
        assert chosen(browser) == []
        browser.click("#closer")  # the same place on the screen is another on the map now
        lasso(browser, polygon)
        assert len(chosen(browser)) > 0 and set(chosen(browser)) != set(listed)


def test_a_click_chooses_one_image_and_the_legend_a_cluster(tmp_path: Path) -> None:
    atlas = an_atlas()
    write_map_page(atlas, paths_of, MapPage("m"), tmp_path / "m.html")
    with open_browser(tmp_path / "profile") as browser:
        browser.show(tmp_path / "m.html")
        width, height = browser.run(
            "[document.getElementById('map').clientWidth, document.getElementById('map').clientHeight]"
        )
        pixels = on_screen(atlas, width, height)
        far = np.linalg.norm(pixels[:, None] - pixels, axis=2) + 1e9 * np.eye(COUNT)
        alone = int(far.min(1).argmax())
        browser.move(*pixels[alone])
        assert browser.run("document.getElementById('tip-name').textContent").startswith(
            Path(a_path(atlas.ids[alone])).name
        )
        browser.drag([tuple(pixels[alone])])
        assert chosen(browser) == [a_path(atlas.ids[alone])]
        assert browser.run("document.getElementById('expression').value") == f'path = "{a_path(atlas.ids[alone])}"'
        browser.click("#legend li:nth-child(2) button")
        assert chosen(browser) == [a_path(atlas.ids[at]) for at in np.flatnonzero(atlas.labels == 1)]


def test_what_a_page_of_a_collection_writes_finds_what_was_chosen(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" \\ folder'
    folder.mkdir()
    for number in range(24):
        colour = ("red", "lime", "blue")[number % 3]
        Image.new("RGB", (40 + number, 40), colour).save(folder / f"{number}.png")
    with open_collection("photos", ":memory:", clip="mini", backbone="mini", device="cpu") as photos:
        photos.index([folder])
        atlas = photos.map(vocabulary="red,green,blue", clusters=3, layout="pca", write="colour")
        photos.write_map(atlas, tmp_path / "m.html")
        with open_browser(tmp_path / "profile") as browser:
            browser.show(tmp_path / "m.html")
            lasso(browser, [(5.0, 60.0), (330.0, 60.0), (330.0, 690.0), (5.0, 690.0)])
            listed = chosen(browser)
            found = [hit.path for hit in photos.mine(browser.run("document.getElementById('expression').value"))]
            assert sorted(found) == sorted(listed)
            assert 0 < len(listed) < 24
            assert browser.run("document.querySelectorAll('#choice-images img').length") == len(listed)
            browser.click("#legend button")
            expression = browser.run("document.getElementById('expression').value")
            assert expression == f'derived.colour = "{atlas.clusters[0].name}"'
            assert sorted(hit.path for hit in photos.mine(expression)) == sorted(chosen(browser))


def test_a_picture_shows_each_cluster_in_its_colour(tmp_path: Path) -> None:
    atlas = an_atlas(("_dog $x$", "lake\u202e", "snow " * 30))
    write_map_picture(atlas, "A map of $1 pictures", tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    assert len(set(group_colours(200))) == 200
    for colour in group_colours(3):
        shown = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) * 0.8 + 255 * 0.2
        assert (np.abs(pixels - shown).max(1) < 6).sum() > 500
    with pytest.raises(UsageError, match="is a folder"):
        write_map_picture(atlas, "m", tmp_path)
