"""``t2c explain`` and ``t2c search --explain`` as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Outcome, World
from tests.export.test_page import HOSTILE, Parsed

T2C = Callable[..., Outcome]


def width_of(picture: Path) -> int:
    with Image.open(picture) as opened:
        return opened.width


@pytest.fixture(scope="module")
def store(t2c: T2C, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("explained") / "s.t2c"
    captions = world.images.parent / "captions.csv"
    done = t2c(
        *("index", world.images, "--captions", captions, "--store", store, "--clip", world.clip),
        *("--backbone", world.backbone, "--device", "cpu"),
    )
    assert done.code == 0, done.err
    return store


def test_a_hit_is_explained_on_the_terminal_and_in_json(t2c: T2C, store: Path) -> None:
    query = '"a dog" AND NOT "a cat"'
    shown = t2c("explain", query, "--rank", 2, "--store", store)
    assert shown.code == 0
    for told in ("rank 2", '"a dog"', 'NOT "a cat"', "gives", "rank without it", "by the method exact", "without "):
        assert told in shown.out
    told = t2c("explain", query, "--rank", 2, "--store", store, "--json").json
    found = t2c("search", query, "-n", 2, "--store", store, "--json").json["hits"][1]
    (image,) = told["images"]
    assert told["expression"] == query
    assert (image["id"], image["path"], image["rank"]) == (found["id"], found["path"], 2)
    assert sum(each["contribution"] for each in image["literals"]) == pytest.approx(found["score"], abs=1e-9)
    rows, columns = image["grid"]
    assert [len(image["literals"][0]["map"]), len(image["literals"][0]["map"][0])] == [rows, columns]


def test_any_image_is_explained_and_words_need_no_quotes(t2c: T2C, store: Path, world: World) -> None:
    path = world.images / "06.png"
    shown = t2c("explain", "a", "red", "dog", "--path", path, "--no-ranks", "--store", store)
    assert shown.code == 0
    assert str(path) in shown.out
    assert "rank" not in shown.out


@pytest.mark.parametrize("name", ["why.png", "why.html", "why.json", "why.svg"])
def test_explanations_are_saved_by_their_ending(t2c: T2C, store: Path, tmp_path: Path, name: str) -> None:
    done = t2c("explain", '"a dog" AND NOT "a cat"', "--store", store, "--save", tmp_path / name)
    assert done.code == 0, done.err
    assert name in done.err
    content = (tmp_path / name).read_bytes()
    if name.endswith(".png"):
        assert width_of(tmp_path / name) > 800
    elif name.endswith(".json"):
        assert len(json.loads(content)["images"][0]["literals"]) == 2
    elif name.endswith(".html"):
        page = Parsed(tmp_path / name)
        assert page.tags.count("img") == 3
        assert "rank 1, score" in page.source
    else:
        assert b"<svg" in content


def test_a_region_is_told_in_words(t2c: T2C, store: Path, world: World) -> None:
    asked = ("explain", "--path", world.images / "06.png", "--region", "30,10,60,40", "--vocabulary", "dog,cat,tree")
    shown = t2c(*asked, "--store", store)
    assert shown.code == 0
    assert {"dog", "cat", "tree"} <= set(shown.out.split())
    told = t2c(*asked, "--store", store, "--json").json
    shares = [word["share"] for word in told["words"]]
    assert shares == sorted(shares, reverse=True)
    assert 0 < told["area"] < 1


def test_a_search_is_explained_on_one_page(t2c: T2C, store: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = t2c("search", '"a dog" AND NOT "a cat"', "-n", 3, "--store", store, "--explain", page)
    assert done.code == 0
    parsed = Parsed(page)
    assert parsed.tags.count("img") == 9
    assert parsed.source.count("without ") >= 3
    nothing = t2c("search", '"a dog" >= 0.9999', "--store", store, "--explain", page)
    assert nothing.code == 0
    assert Parsed(page).tags.count("img") == 0


def test_hostile_names_stay_text(t2c: T2C, world: World, tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 40), (90 * number, 20, 60)).save(folder / f"<img src=x onerror=alert({number})>.png")
    store = tmp_path / "s.t2c"
    assert t2c("index", folder, "--store", store, "--clip", world.clip, "--device", "cpu").code == 0
    page = tmp_path / "page.html"
    query = json.dumps(HOSTILE[:40])
    assert t2c("search", query, "--store", store, "--explain", page).code == 0
    parsed = Parsed(page)
    assert "onerror" not in {name for _, name, _ in parsed.attributes}
    assert "script" not in parsed.tags
    assert "<img src=x" not in parsed.source


def test_what_a_model_knows_is_told(t2c: T2C, store: Path, tmp_path: Path, world: World) -> None:
    chart = tmp_path / "known.png"
    done = t2c(
        "explain", "--grounding", "picture,1,zebra", "-n", 6, "--store", store, "--save", chart, "--against", "clip"
    )
    assert done.code == 0, done.err
    assert width_of(chart) > 400
    assert "'zebra' is left out" in done.err
    assert "'picture' is left out" in done.err  # all images have it: no others to lay beside
    told = t2c("explain", "--grounding", "1,2", "-n", 6, "--store", store, "--json").json
    assert told["words"] == [] or all(0 <= word["score"] <= 1 for word in told["words"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a dog", "--rank", 99], "finds 40 images, and so none of rank 99"),
        (["a dog", "--path", "nowhere.jpg"], "no image at nowhere.jpg"),
        (["a dog", "--save", "why.txt"], "expected a name that ends in .png"),
        (["a dog", "--method", "magic"], "no method 'magic'"),
        (["a dog", "--grounding", "dog"], "leave out the query"),
        (["a dog", "--against", "clip"], "belong to --grounding"),
        (["a dog", "--vocabulary", "everyday"], "belongs to --region"),
        (["a dog", "--region", "0,0,9,9"], "name that by --path or --id"),
        (["--path", "00.png", "--region", "0,0,9"], "is no box"),
        (["--grounding", "dog", "--save", "known.html"], "expected a name that ends in .png"),
        (["--grounding", "dog", "--boxes", "nofield"], "nofield"),
        ([], "nothing to search for"),
        (["--where", "width > 3"], "asks for no meaning"),
    ],
)
def test_mistakes_are_one_sentence(t2c: T2C, store: Path, arguments: list[object], message: str) -> None:
    done = t2c("explain", *arguments, "--store", store)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not done.out


def test_an_image_that_is_gone_is_named(t2c: T2C, world: World, tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (40, 40), (90 * number, 20, 60)).save(tmp_path / f"{number}.png")
    store = tmp_path / "s.t2c"
    assert t2c("index", tmp_path, "--store", store, "--clip", world.clip, "--device", "cpu").code == 0
    (tmp_path / "1.png").unlink()
    done = t2c("explain", "a dog", "--path", tmp_path / "1.png", "--store", store)
    assert done.code != 0
    assert str(tmp_path / "1.png") in done.err
    assert len(done.err.strip().splitlines()) == 1
    both = t2c("explain", "a dog", "--path", tmp_path / "1.png", tmp_path / "2.png", "--store", store)
    assert both.code == 0
    assert "not explained" in both.err and str(tmp_path / "1.png") in both.err
    assert str(tmp_path / "2.png") in both.out
    page = tmp_path / "page.html"
    assert t2c("search", "a dog", "--store", store, "--explain", page).code == 0
    assert Parsed(page).tags.count("img") == 4
    assert "not explained: " in Parsed(page).source


def test_help_loads_no_model_library() -> None:
    code = "import sys\nfrom t2c_search.cli import app\ntry:\n    app(['explain', '--help'])\nexcept SystemExit:\n    pass\n"
    told = subprocess.run(
        [sys.executable, "-c", f"{code}print([each for each in ('torch', 'numpy') if each in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--grounding" in told.stdout
    assert "torch" not in told.stdout.splitlines()[-1]
