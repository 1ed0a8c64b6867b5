"""Nothing in a folder is passed over without being counted and named once by its kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from t2c_search.errors import UsageError
from t2c_search.indexing.report import IndexReport
from t2c_search.sources import ImageList, list_images
from t2c_search.sources.passed_over import EXCLUDED, HIDDEN, NO_FILE, NO_IMAGE
from t2c_search.sources.remarks import Remark


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(images: ImageList, folder: Path) -> list[str]:
    return [os.path.relpath(item.path, folder) for item in images]


def counts(images: ImageList) -> dict[str, int]:
    return {remark.kind: remark.count for remark in images.remarks}


def test_each_file_is_listed_used_or_counted_by_its_kind(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "a.jpg",
        "a.txt",
        "a.png",
        "b.jxl",
        "c.JXL",
        "d.svg",
        "e.CR2",
        "notes.txt",
        "noending",
        "x.py",
        "f.tar",
    )
    touch(
        tmp_path,
        ".hidden.jpg",
        ".thumbnails/1.jpg",
        "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
        "sub/@eaDir/b.jpg",
        "sub/c.jpg",
    )
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zz").symlink_to(tmp_path / "sub")
    images = list_images([tmp_path])
    assert names(images, tmp_path) == ["a.jpg", "a.png", "sub/c.jpg"]
    assert counts(images) == {
        HIDDEN: 4,
        "passed over: .jxl files cannot be read; convert them, to JPEG or PNG": 2,
        "passed over: .svg files cannot be read; convert them, to JPEG or PNG": 1,
        "passed over: .cr2 files cannot be read; convert them, to JPEG or PNG": 1,
        NO_IMAGE: 3,
        NO_FILE: 1,
        ".tar file in a folder is not opened: name it, or a pattern such as '*.tar'": 1,
        "folder that is listed already, under another name": 1,
    }


def test_what_is_named_beside_its_folder_is_not_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "table.csv").write_text("image,caption\na.jpg,x\n")
    assert list_images([tmp_path], captions=tmp_path / "table.csv").remarks == ()
    assert list_images([tmp_path, tmp_path / "table.csv"]).remarks == ()


def test_a_remote_folder_is_no_other(tmp_path: Path) -> None:
    import fsspec

    for name in ("a.jpg", "b.jxl", ".c.jpg", "@eaDir/d.jpg", "e/thumbs/f.jpg", "g.txt", "a.txt"):
        with fsspec.open(f"memory://passed/{name}", "wb") as file:
            file.write(b"x")
    images = list_images(["memory://passed"], exclude=["thumbs"])
    assert [item.path.rpartition("/")[2] for item in images] == ["a.jpg"]
    assert counts(images) == {
        HIDDEN: 2,
        EXCLUDED: 1,
        "passed over: .jxl files cannot be read; convert them, to JPEG or PNG": 1,
        NO_IMAGE: 1,
    }


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*_thumb.jpg", ["a.jpg", "raw/b.jpg", "raw/deep/c.jpg"]),
        ("raw", ["a.jpg", "a_thumb.jpg"]),
        ("raw/", ["a.jpg", "a_thumb.jpg"]),
        ("raw/*.jpg", ["a.jpg", "a_thumb.jpg", "raw/deep/c.jpg"]),
        ("raw/deep", ["a.jpg", "a_thumb.jpg", "raw/b.jpg"]),
        ("photos", ["a.jpg", "a_thumb.jpg", "raw/b.jpg", "raw/deep/c.jpg"]),  # what is named is looked at
    ],
)
def test_what_a_pattern_excludes_is_passed_over_in_folders_and_patterns(
    tmp_path: Path, pattern: str, left: list[str]
) -> None:
    folder = tmp_path / "photos"
    touch(folder, "a.jpg", "a_thumb.jpg", "raw/b.jpg", "raw/deep/c.jpg")
    images = list_images([folder], exclude=[pattern])
    assert names(images, folder) == left
    assert counts(images) == ({EXCLUDED: 1} if len(left) < 4 else {})
    if "raw" not in pattern and "photos" not in pattern:
        assert sorted(names(list_images([f"{folder}/**/*.jpg"], exclude=[pattern]), folder)) == left


def test_a_pattern_that_names_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names nothing"):
        list_images([tmp_path], exclude=["."])


def test_names_that_differ_only_in_what_is_no_utf8_are_told(tmp_path: Path) -> None:
    for name in (b"caf\xe9.jpg", b"caf\xe8.jpg", b"caf\xea.jpg"):
        try:
            Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"x")
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
    images = list_images([tmp_path])
    assert len(images) == 1
    assert [remark.count for remark in images.remarks] == [2]
    images.remarks[0].example.encode()


def test_what_a_pattern_matches_and_is_no_image_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jxl", "c.txt")
    images = list_images([f"{tmp_path}/*"])
    assert names(images, tmp_path) == ["a.jpg"]
    assert sum(counts(images).values()) == 2


def test_a_report_tells_its_remarks_by_kind_and_its_lines_are_made_of_them() -> None:
    report = IndexReport(0, 0, 0, 0, (), 0.0, remarks=(Remark("once", 1, "/a"), Remark("often", 3, "/b")))
    told = report.to_json()
    assert told["remarks"] == [
        {"kind": "once", "count": 1, "example": "/a"},
        {"kind": "often", "count": 3, "example": "/b"},
    ]
    assert told["warnings"] == list(report.warnings) == ["once (/a)", "often (3 times, first /b)"]
