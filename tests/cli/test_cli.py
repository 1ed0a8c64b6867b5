"""What scripts rely on: the commands' JSON, their exit codes, and one clear sentence for each mistake."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Outcome, World

T2C = Callable[..., Outcome]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "photos.t2c"


@pytest.fixture(scope="module")
def made(t2c: T2C, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the world, indexed with its backbone aligned to its CLIP model."""
    store = tmp_path_factory.mktemp("made") / "photos.t2c"
    made = t2c(
        "index", world.images, "-c", "photos", "--store", store, "--clip", world.clip, "--backbone", world.backbone,
        "--captions", world.images.parent / "captions.csv", "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert {key: made.json[key] for key in ("collection", "seen", "indexed", "unchanged", "failed", "failures")} == {
        "collection": "photos",
        "seen": 40,
        "indexed": 40,
        "unchanged": 0,
        "failed": 0,
        "failures": [],
    }
    assert made.json["aligner"]["pairs"] == 40
    assert made.json["seconds"] > 0 < made.json["images_per_second"]
    return store


@pytest.fixture
def indexed(made: Path, store: Path) -> list[object]:
    """The options that name a collection of the test's own, a copy of the one made."""
    return ["-c", "photos", "--store", shutil.copytree(made, store)]


def test_index_again_finds_everything_unchanged(t2c: T2C, world: World, indexed: list[object]) -> None:
    again = t2c("index", world.images, *indexed, "--captions", world.images.parent / "captions.csv", "--json")
    assert (again.json["indexed"], again.json["unchanged"], again.code) == (0, 40, 0)


def test_search_contract(t2c: T2C, indexed: list[object]) -> None:
    found = t2c("search", *indexed, "picture 7", "-n", 5, "--json")
    assert found.code == 0
    hits = found.json["hits"]
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5]
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    for hit in hits:
        assert Path(hit["path"]).is_file()
        assert -1 <= hit["cosine"] <= 1
        assert hit["payload"]["captions"] == [f"picture {int(Path(hit['path']).stem)}"]
    assert found.json["seconds"] >= 0
    assert found.json["certificate"]["kind"] in ("exact", "ann")
    assert t2c("search", *indexed, "picture 7", "-n", 5, "--paths").out.split() == [hit["path"] for hit in hits]


def test_where_is_a_filter(t2c: T2C, indexed: list[object]) -> None:
    where = 'width >= 80 AND folders = "below" AND split = "train"'
    found = t2c("search", *indexed, "picture", "-n", 40, "--where", where, "--json").json["hits"]
    expected = {n for n in range(40) if 40 + 20 * (n % 4) >= 80 and n % 2 and n >= 10}
    assert {int(Path(hit["path"]).stem) for hit in found} == expected


def test_an_image_finds_itself_first(t2c: T2C, world: World, indexed: list[object]) -> None:
    wanted = world.images / "12.png"
    first = t2c("search", *indexed, "--image", wanted, "-n", 1, "--json").json["hits"][0]
    assert first["path"] == str(wanted)
    assert first["cosine"] == pytest.approx(1, abs=1e-4)


def test_sheet_shows_the_hits(t2c: T2C, indexed: list[object], tmp_path: Path) -> None:
    sheet = tmp_path / "out" / "sheet.png"
    paths = t2c("search", *indexed, "picture", "-n", 3, "--paths", "--sheet", sheet).out.split()
    with Image.open(sheet) as drawn, Image.open(paths[0]) as first:
        middle = drawn.convert("RGB").getpixel((16 + 120, 56 + 120))  # the centre of the first tile
        source = first.convert("RGB").getpixel((first.width // 2, first.height // 2))
        assert middle == pytest.approx(source, abs=24)  # the pictures are smooth, and shown enlarged
    wrong = t2c("search", *indexed, "picture", "--sheet", tmp_path / "sheet.doc")
    assert (wrong.code, ".doc" in wrong.err) == (2, True)


def test_open_and_pages_show_hits_and_duplicates(
    t2c: T2C, indexed: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setenv("BROWSER", "a browser")
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    page = tmp_path / "page.html"
    found = t2c("search", *indexed, '"picture 7" AND width >= 8', "-n", 3, "--json", "--sheet", page, "--open").json
    shown = unescape(page.read_text())
    places = [shown.index(f">{hit['path']}<") for hit in found["hits"]]
    assert places == sorted(places)
    assert found["expression"] in shown
    assert "certified" in shown
    assert all(hit["payload"]["captions"][0] in shown for hit in found["hits"])
    groups = t2c("duplicates", *indexed, "--json", "--near", 0.5, "--sheet", page, "--open").json["groups"]
    assert groups
    assert unescape(page.read_text()).count('class="path"') == sum(map(len, groups))
    assert opened == [page.as_uri()] * 2
    wrong = t2c("duplicates", *indexed, "--sheet", tmp_path / "page.png")
    assert (wrong.code, ".html" in wrong.err) == (2, True)


def test_count_mine_and_facets_agree(t2c: T2C, indexed: list[object], tmp_path: Path) -> None:
    expression = '"picture 7" >= 0.5sd AND NOT "picture 30" >= 1sd'
    counted = t2c("count", *indexed, expression, "--json").json
    mined = t2c("mine", *indexed, expression).out.split()
    assert counted["exact"]
    assert 0 < counted["count"] == len(mined) == len(set(mined)) < 40
    target = tmp_path / "mined.jsonl"
    assert t2c("mine", *indexed, expression, "--format", "jsonl", "-o", target).code == 0
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert {row["path"] for row in rows} == set(mined)
    values = t2c("facets", *indexed, "split", expression, "--json").json["values"]
    assert sum(value["count"] for value in values) == len(mined)


def test_concepts_are_saved_used_and_removed(t2c: T2C, indexed: list[object]) -> None:
    # the ends of a ranking: random models may leave little more than one direction, and the middle of it anywhere
    by_text = t2c("search", *indexed, "picture 7", "-n", 40, "--paths").out.split()
    files = [by_text[0], *by_text[-2:]]
    added = t2c("concept", "add", "mine", *indexed, "--yes", files[0], "--no", files[1], "--no", files[2])
    assert added.code == 0, added.err
    assert t2c("concept", "list", *indexed, "--json").json["concepts"][0]["name"] == "mine"
    ranked = t2c("search", *indexed, "@mine", "-n", 40, "--paths").out.split()
    assert ranked.index(files[0]) < min(ranked.index(file) for file in files[1:])
    assert t2c("concept", "remove", "mine", *indexed).code == 0
    assert "mine" in t2c("search", *indexed, "@mine").err


def test_info_describes(t2c: T2C, world: World, indexed: list[object], store: Path) -> None:
    told = t2c("info", *indexed, "--json").json
    assert (told["images"], told["clip"], told["backbone"]) == (40, world.clip, world.backbone)
    assert "images" in t2c("info", "--store", store).err  # the collection of the settings, as in every command


def test_fit_once_and_use_the_aligner(t2c: T2C, world: World, tmp_path: Path) -> None:
    file = tmp_path / "aligner.safetensors"
    models = ["--clip", world.clip, "--backbone", world.backbone]
    fitted = t2c("fit", *models, "--images", world.images, "-o", file, "--json")
    assert fitted.json["pairs"] == 40
    made = t2c("index", world.images, "-c", "a", "--store", tmp_path / "s", *models, "--aligner", file, "--json")
    assert made.json["aligner"] == fitted.json
    other = t2c(
        "index", world.images, "-c", "b", "--store", tmp_path / "s", "--clip", world.clip, "--aligner", file
    )  # fmt: skip
    assert other.code == 2
    assert "leave --aligner out" in other.err


def test_a_decoder_is_fitted_and_told_of(t2c: T2C, world: World, tmp_path: Path) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("".join(f"picture {number}\n" for number in range(30)))
    told = t2c("fit-decoder", captions, "-o", tmp_path / "decoder", "--clip", world.clip, "--steps", 2)
    assert told.code == 0
    assert f"t2c describe --decoder {tmp_path / 'decoder'}" in told.out
    again = t2c("fit-decoder", captions, "-o", tmp_path / "decoder", "--clip", world.clip, "--steps", 2)
    assert again.code == 2
    assert "is not empty" in again.err
    other = t2c("fit-decoder", captions, "-o", tmp_path / "other", "--clip", world.clip, "--steps", 2, "--json")
    assert other.json == json.loads((tmp_path / "decoder" / "config.json").read_text())


def test_the_clip_model_itself_needs_no_aligner(t2c: T2C, world: World, store: Path) -> None:
    made = t2c("index", world.images, "--store", store, "--clip", world.clip, "--json")
    assert (made.json["indexed"], made.json["aligner"]) == (40, None)


def test_every_file_broken(t2c: T2C, world: World, store: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "empty.jpg").write_bytes(b"")
    (broken / "text.png").write_text("no picture")
    for backbone in ([], ["--backbone", world.backbone]):
        where = ("--store", store, "-c", f"photos-{len(backbone)}")
        failed = t2c("index", broken, *where, "--clip", world.clip, *backbone, "--json")
        assert failed.code == 3
        assert {Path(failure["path"]).name for failure in failed.json["failures"]} == {"empty.jpg", "text.png"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "--store", "nowhere", "a dog"], "t2c index FOLDER"),
        (["search", "--store", "nowhere"], "there is no collection"),
        (["index", "no-such-folder", "--store", "s"], "there is no file or folder"),
        (["index", "{images}", "--store", "s", "--clip", "opn_clip:x"], "did you mean 'open_clip'"),
        (["index", "{images}", "--store", "s", "--clip", "{backbone}"], "no text tower"),
        (["index", "{images}", "--store", "s", "--clip", "open_clip:local-dir:gone"], "gone"),
        (["index", "{images}", "--store", "s://x"], "cannot be used"),
        (["index", "{images}", "-c", "../up"], "collection name"),
        (["mine", '"a dog" AND', "--store", "nowhere"], "there is no collection"),
        (["fit-decoder", "gone.txt", "-o", "decoder", "--clip", "mini"], "gone.txt' cannot be read"),
        (["fit-decoder", "{images}", "-o", "decoder", "--clip", "{backbone}"], "cannot be read"),
        (["fit", "--backbone", "{clip}", "--clip", "{clip}", "--images", "{images}", "-o", "x"], "need no aligner"),
    ],
)
def test_mistakes_get_one_clear_message(
    t2c: T2C, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"images": world.images, "clip": world.clip, "backbone": world.backbone}
    outcome = t2c(*(argument.format(**names) for argument in arguments))
    assert outcome.code in (1, 2)
    assert said in outcome.err
    assert outcome.err.startswith("t2c: ")
    assert outcome.err.count("\n") == 1


def test_an_expression_error_points_at_the_place(t2c: T2C, indexed: list[object]) -> None:
    outcome = t2c("search", *indexed, '"a dog" AND widht >= 10')
    assert outcome.code == 2
    assert "width" in outcome.err
    assert "^" in outcome.err


@pytest.mark.parametrize("command", [[], ["index"], ["fit"], ["search"], ["mine"], ["count"], ["facets"], ["info"], ["collections"], ["delete"], ["remove"], ["models"], ["fit-decoder"], ["settings"], ["doctor"], ["concept", "add"]])  # fmt: skip  # noqa: E501
def test_help_teaches_by_example(t2c: T2C, command: list[str]) -> None:
    told = t2c(*command, "--help")
    assert told.code == 0
    assert "t2c " + " ".join(command) in told.out


def test_models_lists_every_kind(t2c: T2C) -> None:
    told = t2c("models")
    assert all(kind in told.out for kind in ("timm:", "open_clip:", "st:", "torch:", "precomputed:", "mini"))
    kinds = {kind["name"]: kind["choices"] for kind in t2c("models", "--json").json["kinds"]}
    assert kinds.keys() >= {"timm", "open_clip", "mini"}
    assert {choice["id"]: choice["places"] for choice in kinds["mini"]} == {
        "mini": "analytic",
        "mini:cnn": "exact",
        "mini:vit": "exact",
    }


def test_doctor_examines_this_machine(t2c: T2C, store: Path) -> None:
    findings = {finding["subject"]: finding for finding in t2c("doctor", "--store", store, "--json").json["findings"]}
    assert findings["torch and torchvision"]["state"] == "ok"
    assert findings["model hub"]["state"] == "note"  # the tests run offline
    assert "no collection yet" in findings["store"]["message"]
    lost = t2c("doctor", "--store", "http://127.0.0.1:9", "--json")
    assert lost.code == 1
    assert "nothing answers" in lost.out
