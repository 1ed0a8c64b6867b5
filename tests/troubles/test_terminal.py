"""What a terminal is shown does it no harm and fits it; what is piped is exact, whatever a name has in it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest
from PIL import Image

from t2c_search.__main__ import main
from t2c_search.cli.render import harmless
from t2c_search.collection import open_collection
from tests.cli.conftest import Outcome, run

EVIL = "evil\x1b]0;owned\x07\x1b[31m\x9b2J\u202egnp\n 2  9.999  fake.png"
LONG = "a rather long name of a folder/" * 4 + "at the end.png"
COMMAND = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\]8;[^\x1b]*\x1b\\")
"""What rich itself sends: styles, the progress bar's cursor, links."""


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("names")
    for number, name in enumerate((EVIL, LONG, "plain.png")):
        path = root / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60 + number, 60), (80 * number, 0, 0)).save(path)
    (root / "captions.csv").write_text('image,caption,maker\nplain.png,"a \x1b[2J caption","\x1b[5mblink"\n')
    with open_collection("photos", str(root / "p.t2c"), clip="mini", backbone="mini") as photos:
        photos.index([root / "pictures"], captions=root / "captions.csv")
    return root / "p.t2c"


def shown(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Outcome:
    """Run a command on a terminal of 60 columns."""
    monkeypatch.setattr(sys, "argv", ["t2c", *map(str, arguments)])
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out, err = (Terminal(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 0
    return Outcome(code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())


def test_harmless_is_what_json_writes() -> None:
    text = EVIL + "\x00\x7f\x85\u2066\u200f ümlaut 犬 👩\u200d🚀\t"
    assert json.loads(f'"{harmless(text.replace(chr(10), ""))}"', strict=False) == text.replace("\n", "")
    assert all(character.isprintable() or character in "\n\t\u200d" for character in harmless(text))
    assert harmless("ümlaut 犬 👩\u200d🚀") == "ümlaut 犬 👩\u200d🚀"


COMMANDS = [
    ["search", "--where", "width > 0"],
    ["search", "red", "--explain-plan"],
    ["search", "--where", "width > 0", "--json"],
    ["search", "red", "--paths"],
    ["search", "red", "--print0"],
    ["search", "red", "--format", "jsonl"],
    ["search", "red", "--format", "csv"],
    ["mine", "--where", "width > 0"],
    ["mine", "--where", "width > 0", "--json"],
    ["mine", "--where", "width > 0", "--format", "coco"],
    ["facets", "name"],
    ["facets", "maker"],
    ["duplicates", "--near", "0.5"],
    ["search", "like('\x1b[2J')"],
    ["search", "red", "--where", "\x1b]0;x\x07 = 3"],
    ["search", "--\x1b[31mred"],
    ["search", "red", "-n", "\x1b[31mred"],
    ["search", "--image", "gone\x1b[2J.png"],
    ["concept", "remove", "\x1b[2J"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command).encode("unicode_escape").decode())
def test_nothing_on_a_terminal_gives_it_commands(
    monkeypatch: pytest.MonkeyPatch, store: Path, command: list[str]
) -> None:
    outcome = shown(monkeypatch, *command, "-c", "photos", "--store", store)
    for stream in (outcome.out, outcome.err):
        text = COMMAND.sub("", stream).replace("\r", "")
        assert harmless(text) == text
    sent = "".join(COMMAND.findall(outcome.out + outcome.err))
    assert "2J" not in sent and "[31mred" not in sent and "[5m" not in sent


@pytest.mark.skipif(os.name != "posix", reason="opens a terminal")
def test_a_name_takes_one_line_cut_in_its_middle_and_is_a_link(store: Path) -> None:
    outside, inside = os.openpty()
    command = [
        sys.executable,
        "-m",
        "t2c_search",
        "search",
        "--where",
        "width > 0",
        "-c",
        "photos",
        "--store",
        str(store),
    ]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "60"}
    with subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environment):
        os.close(inside)
        shown = b""
        with suppress(OSError):  # how a terminal ends
            while part := os.read(outside, 1 << 16):
                shown += part
        os.close(outside)
    rows = [row for row in shown.decode().splitlines() if re.match(r"\d  ", COMMAND.sub("", row).lstrip("\r"))]
    assert len(rows) == 3 and all(len(COMMAND.sub("", row).strip()) <= 60 for row in rows)
    links = [match[1] for row in rows if (match := re.search(r"\x1b\]8;[^;]*;([^\x1b]+)\x1b\\", row))]
    pictures = store.parent / "pictures"
    assert sorted(links) == sorted((pictures / name).as_uri() for name in (EVIL, LONG, "plain.png"))
    [cut] = [row for row in rows if row.count("at the end.png")]
    assert "…" in cut and (pictures / LONG).as_uri() in cut


def test_what_is_piped_is_whole_and_exact(store: Path) -> None:
    here = ["-c", "photos", "--store", store]
    paths = {str(store.parent / "pictures" / name) for name in (EVIL, LONG, "plain.png")}
    for command in (["search", "red"], ["mine", "--where", "width > 0"]):
        assert set(run(*command, *here, "-0").out.split("\0")) == paths | {""}
        assert {
            row["path"] for row in csv.DictReader(io.StringIO(run(*command, *here, "--format", "csv").out))
        } == paths
        assert {hit["path"] for hit in run(*command, *here, "--json").json["hits"]} == paths
    table = run("search", "--where", "width > 60", *here).out
    assert all(path in table for path in paths if "evil" not in path)  # neither folded nor cut
    assert "\x1b[5mblink" in run("facets", "maker", *here).out


def test_a_format_for_programs_is_not_written_to_a_terminal(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    outcome = shown(monkeypatch, "mine", "red", "-c", "photos", "--store", store, "--format", "parquet")
    assert (outcome.code, "parquet is no text" in outcome.err) == (2, True)
