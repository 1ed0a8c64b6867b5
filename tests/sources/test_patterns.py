"""Patterns stand for what a shell would make of them, and what a file is really called counts first."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2c_search.errors import UsageError
from t2c_search.sources import expand_braces, list_images

from .test_listing import touch


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("plain.tar", ["plain.tar"]),
        ("s-{0..2}.tar", ["s-0.tar", "s-1.tar", "s-2.tar"]),
        ("s-{008..011}.tar", ["s-008.tar", "s-009.tar", "s-010.tar", "s-011.tar"]),
        ("{9..010}", ["009", "010"]),
        ("{3..1}", ["3", "2", "1"]),
        ("{0..10..5}", ["0", "5", "10"]),
        ("{5..1..-2}", ["5", "3", "1"]),
        ("{-1..1}", ["-1", "0", "1"]),
        ("{-01..1}", ["-01", "000", "001"]),
        ("{a..e..2}", ["a", "c", "e"]),
        ("x.{tar,zip}", ["x.tar", "x.zip"]),
        ("{a,}b", ["ab", "b"]),
        ("{a,b}{1..2}", ["a1", "a2", "b1", "b2"]),
        ("{train-{0..1},test}.tar", ["train-0.tar", "train-1.tar", "test.tar"]),
        ("{a}", ["{a}"]),
        ("{}", ["{}"]),
        ("{a..}", ["{a..}"]),
        ("{1..x}", ["{1..x}"]),
        ("{{a,b}", ["{a", "{b"]),
    ],
)
def test_braces(pattern: str, names: list[str]) -> None:
    assert list(dict.fromkeys(expand_braces(pattern))) == names  # origin of the names: bash 5.2


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash to compare with")
@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text("abx-.", min_size=1, max_size=3),
            st.lists(st.text("ab01", min_size=1, max_size=2), min_size=2, max_size=3).map(
                lambda items: "{" + ",".join(items) + "}"
            ),
            st.tuples(st.integers(0, 120), st.integers(0, 120), st.integers(0, 3)).map(
                lambda ends: f"{{{ends[0]:0{ends[2]}d}..{ends[1]:0{ends[2]}d}}}"
            ),
        ),
        min_size=1,
        max_size=2,
    ).map("".join)
)
def test_braces_mean_what_they_mean_in_bash(pattern: str) -> None:
    shell = subprocess.run(["bash", "-c", f"printf '%s\\n' _{pattern}"], capture_output=True, text=True, check=True)
    assert [f"_{name}" for name in expand_braces(pattern)] == shell.stdout.splitlines()


def listed(folder: Path, *sources: str) -> list[str]:
    return [os.path.relpath(item.path, folder) for item in list_images(sources)]


def test_glob_gives_images_and_folders_and_what_its_ending_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.jpg", "b.png", "c/d.jpg", "c/e/f.jpg", "notes.txt", "scan.data", ".hidden.jpg")
    monkeypatch.chdir(tmp_path)
    assert listed(tmp_path, "*") == ["a.jpg", "b.png", "c/d.jpg", "c/e/f.jpg"]
    assert listed(tmp_path, "**/*.jpg") == ["a.jpg", "c/d.jpg", "c/e/f.jpg"]
    assert listed(tmp_path, "c/*") == ["c/d.jpg", "c/e/f.jpg"]
    assert listed(tmp_path, "*.{data,png}") == ["scan.data", "b.png"]
    assert listed(tmp_path, str(tmp_path / "?.jpg"), "a.jpg") == ["a.jpg"]


def test_a_file_that_is_called_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].jpg", "a1.jpg", "b{1,2}.jpg")
    assert listed(tmp_path, str(tmp_path / "a[1].jpg"), str(tmp_path / "b{1,2}.jpg")) == ["a[1].jpg", "b{1,2}.jpg"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*.gif", "nothing matches"),
        ("x{1,2}.jpg", "no file or folder .*x1.jpg"),
        ("{0..9999999}.jpg", "more than 100000 names"),
    ],
)
def test_a_pattern_that_stands_for_nothing_is_a_usage_error(tmp_path: Path, pattern: str, message: str) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(UsageError, match=message):
        list_images([str(tmp_path / pattern)])


def test_standard_input_names_sources_a_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "z.jpg", "a b.jpg", "c/d.jpg", "e1.png", "e2.png")
    lines = [tmp_path / "a b.jpg", tmp_path / "c", "", tmp_path / "e{1..2}.png"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\r\n".join(map(str, lines)).encode())))
    assert listed(tmp_path, str(tmp_path / "z.jpg"), "-") == ["z.jpg", "a b.jpg", "c/d.jpg", "e1.png", "e2.png"]
