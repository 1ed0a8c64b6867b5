"""A page is whole in itself, shows each image once and in order, and nothing that it tells becomes markup."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.errors import UsageError
from t2c_search.export import page as pages
from t2c_search.export.duplicates import write_duplicates_page
from t2c_search.export.page import Card, Page, Section, write_page
from t2c_search.export.sheet import write_sheet
from t2c_search.query.execution.duplicates import Duplicate
from t2c_search.results import Hit

VOID = {"meta", "img"}
LOADING = {"script", "link", "iframe", "object", "embed", "video", "audio", "base", "form", "source", "svg"}
HOSTILE = "<script>alert(1)</script>\"><img src=x onerror='alert(2)'>&lt;\u202egnp\x1b[31m\x9b"


class Parsed(HTMLParser):
    """A page's elements, and the texts of its cards, title and notes; tags must be closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_bytes().decode()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.items: list[dict[str, str]] = []
        self.texts: dict[str, str] = {}
        self._class = ""
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        given = dict(attrs)
        if tag == "li":
            self.items.append({"li": given.get("class") or ""})
        elif tag == "img":
            self.items[-1]["img"] = given["src"] or ""
        elif tag == "div":
            self._class = given.get("class") or ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "li" in self.open:
            self.items[-1][self._class] = self.items[-1].get(self._class, "") + data
        elif self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data

    def is_self_contained(self) -> bool:
        """Tell whether nothing is loaded and nothing runs."""
        sources = [value for _, name, value in self.attributes if name in ("src", "srcset", "background", "poster")]
        links = [value for _, name, value in self.attributes if name == "href"]
        return (
            not LOADING & set(self.tags)
            and all(value.startswith("data:image/jpeg;base64,") for value in sources)
            and all(value.startswith("file:///") for value in links)
            and not any(name.startswith("on") for _, name, _ in self.attributes)
            and "url(" not in self.texts["style"]
            and "@import" not in self.texts["style"]
        )


def picture(path: Path, colour: str = "red") -> str:
    Image.new("RGB", (80, 60), colour).save(path, "PNG")
    return str(path)


def hit(rank: int, path: str, *captions: str) -> Hit:
    return Hit(rank, f"{rank}", path, 3 - rank / 7, 0.25 + rank / 100, {"path": path, "captions": list(captions)})


@pytest.mark.parametrize("ending", [".html", ".HTM"])
def test_each_hit_stands_once_and_in_order_with_what_is_told_of_it(tmp_path: Path, ending: str) -> None:
    colours = ("red", "lime", "blue")
    found = [hit(n, picture(tmp_path / f"ü {n}.png", c), f"a {c} wall") for n, c in enumerate(colours, 1)]
    target = tmp_path / "new" / f"sheet{ending}"
    write_sheet(found, "a wall", target, notes=('"a wall" AND width >= 8', "certified exact"))
    parsed = Parsed(target)
    assert (parsed.texts["title"], parsed.texts["h1"]) == ("a wall", "a wall")
    assert '"a wall" AND width >= 8' in parsed.texts["p"]
    assert "certified exact" in parsed.texts["p"]
    assert parsed.is_self_contained()
    for each, item, colour in zip(found, parsed.items, colours, strict=True):
        assert item["figures"] == f"{each.rank} score {each.score:.3f}, cosine {each.cosine:.3f}"
        assert item["captions"] == f"a {colour} wall"
        assert item["path"].strip() == each.path
        with Image.open(io.BytesIO(base64.b64decode(item["img"].partition(",")[2]))) as shown:
            assert max(shown.size) == 320
            assert shown.getpixel((160, 120)) == pytest.approx(Image.new("RGB", (1, 1), colour).getpixel((0, 0)), abs=4)


def test_what_is_told_never_becomes_markup(tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "") + ".png"
    found = [hit(1, picture(tmp_path / name), HOSTILE, "two\nlines"), hit(2, f"/gone/{HOSTILE}\udcff.png")]
    write_sheet(found, HOSTILE, tmp_path / "page.html", notes=(HOSTILE,))
    parsed = Parsed(tmp_path / "page.html")
    assert parsed.is_self_contained()
    assert parsed.tags.count("img") == 1
    assert not set("\x1b\x9b\u202e\udcff") & set(parsed.source)
    shown = HOSTILE.replace("\x1b", "\\u001b").replace("\x9b", "\\u009b").replace("\u202e", "\\u202e")
    assert parsed.texts["title"] == parsed.texts["h1"] == parsed.texts["p"] == shown
    assert parsed.items[0]["captions"] == f"{shown}two lines"
    assert parsed.items[0]["path"].strip().endswith(shown.replace("/", "") + ".png")
    assert parsed.items[1]["path"].strip() == f"/gone/{shown}\\udcff.png"


def test_an_image_that_is_gone_has_a_frame_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    gone = [hit(1, str(tmp_path / "gone.png")), hit(2, str(tmp_path / "broken.png"))]
    write_sheet(gone, "a wall", tmp_path / "page.html")
    parsed = Parsed(tmp_path / "page.html")
    assert "img" not in parsed.tags
    assert all(item["frame"] for item in parsed.items)


def test_a_page_of_nothing_says_so(tmp_path: Path) -> None:
    write_sheet([], "a wall", tmp_path / "page.html")
    assert "no image to show" in Parsed(tmp_path / "page.html").texts["p"]


def test_passwords_of_addresses_are_not_told(tmp_path: Path) -> None:
    write_sheet([hit(1, "s3://me:secret@nowhere/a.png")], "a wall", tmp_path / "page.html")
    parsed = Parsed(tmp_path / "page.html")
    assert "secret" not in parsed.source
    assert parsed.items[0]["path"].strip() == "s3://***@nowhere/a.png"


def test_a_page_is_bounded_and_says_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (320, 320, 3), np.uint8)).save(tmp_path / "noise.png")
    noise = Card(str(tmp_path / "noise.png"), "1", "", ("a" * 100_000,) * 9)
    sections = (Section("first", (noise,) * 3), Section("second", (noise,) * 9))
    target = tmp_path / "page.html"
    write_page(Page("much", (), sections), target)
    assert len(Parsed(target).items) == 12
    assert "are shown" not in target.read_text()
    monkeypatch.setattr(pages, "_MOST_BYTES", 500_000)
    write_page(Page("much", (), sections), target)
    parsed = Parsed(target)
    assert 3 < len(parsed.items) < 12
    assert target.stat().st_size < 510_000
    assert f"The first {len(parsed.items)} of 12 images are shown" in parsed.texts["p"]
    monkeypatch.setattr(pages, "_MOST_CARDS", 3)
    write_page(Page("much", (), sections), target)
    parsed = Parsed(target)
    assert (len(parsed.items), parsed.texts["h2"]) == (3, "first")


def test_duplicates_say_what_to_keep(tmp_path: Path) -> None:
    best = Duplicate("1", picture(tmp_path / "a.png"), 80, 60, 900, True, "1", 1.0, False)
    copy = Duplicate("2", picture(tmp_path / "b.png"), 80, 60, 900, False, "1", 1.0, True)
    small = Duplicate("3", picture(tmp_path / "c.png"), 40, 30, 300, False, "1", 0.97, False)
    write_duplicates_page([(best, copy, small), (best, small)], "Duplicates", tmp_path / "page.html")
    parsed = Parsed(tmp_path / "page.html")
    assert parsed.is_self_contained()
    assert "2 groups; 3 images could go" in parsed.texts["p"]
    assert parsed.texts["h2"] == "Group 1: 3 imagesGroup 2: 2 images"
    assert [item["li"] for item in parsed.items] == ["", "dropped", "dropped", "", "dropped"]
    marks = [item["figures"].split()[0] for item in parsed.items]
    assert marks == ["keep", "same", "near", "keep", "near"]
    assert parsed.items[2]["figures"] == "near 40 x 30, 300 bytes, cosine 0.9700"
    with pytest.raises(UsageError, match=r"ends in \.html"):
        write_duplicates_page([], "Duplicates", tmp_path / "page.png")


SHOW = """
import sys
from pathlib import Path
from t2c_search.cli.look import show_sheet
sheet = Path(sys.argv[1]) if sys.argv[1:] else None
show_sheet(lambda path: path.write_text("a sheet"), sheet, open=True)
print("the results")
"""


def show(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-c", SHOW, *arguments]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=True, timeout=60)


def recorder(browser: Path) -> None:
    """Make a browser that notes the address it is given beside itself, and writes to standard output."""
    browser.write_text(f'#!/bin/sh\necho "stray output"\necho "$1" > "{browser.parent}/opened"\n')
    browser.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="a script of the shell")
@pytest.mark.parametrize("named", [True, False])
def test_open_gives_the_browser_the_file(tmp_path: Path, named: bool) -> None:
    browser = tmp_path / "browser"
    recorder(browser)
    sheet = [str(tmp_path / "a sheet.html")] if named else []
    shown = show(*sheet, BROWSER=str(browser), TMPDIR=str(tmp_path))
    assert shown.stdout == "the results\n", "a browser does not write among the results"
    [written] = tmp_path.glob("a sheet.html" if named else "t2c-*/sheet.html")
    assert written.read_text() == "a sheet"
    assert (tmp_path / "opened").read_text().strip() == written.as_uri()
    if not named:
        assert written.parent.stat().st_mode & 0o077 == 0, "of this user alone"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there is always a display")
def test_without_a_display_one_sentence_says_where_the_file_is(tmp_path: Path) -> None:
    recorder(tmp_path / "lynx")  # which would take the terminal
    shown = show(TMPDIR=str(tmp_path), PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert not (tmp_path / "opened").exists()
    [written] = tmp_path.glob("t2c-*/sheet.html")
    assert shown.stderr == f"no browser or viewer could be opened here; the sheet is {written}\n"
