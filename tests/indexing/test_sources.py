import os
from pathlib import Path

import pytest

from t2c_search.errors import UsageError
from t2c_search.indexing.sources import ImageInput, list_images


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def listed(folder: Path, *paths: Path) -> list[str]:
    return [os.path.relpath(item.path, folder) for item in list_images(paths or [folder])]


def test_folder_gives_its_images_recursively_in_order_of_name(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.JPG", "a.heic", "c/z.Tiff", "c/y.webp", "c/d/x.jpeg", "e.png", "f.gif", "g.bmp", "h.HEIF", "i.tif"
    )
    touch(tmp_path, "notes.txt", "movie.mp4", "noending", ".hidden.jpg", ".thumbnails/t.jpg", "c/._y.webp")
    assert listed(tmp_path) == [
        "a.heic", "b.JPG", "c/d/x.jpeg", "c/y.webp", "c/z.Tiff", "e.png", "f.gif", "g.bmp", "h.HEIF", "i.tif"
    ]  # fmt: skip


def test_files_may_be_named_whatever_their_ending_and_count_once(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.jpg", "scan.data")
    assert listed(tmp_path, tmp_path / "b.jpg", tmp_path, tmp_path / "scan.data") == ["b.jpg", "a.jpg", "scan.data"]


def test_item_says_size_and_time_and_has_an_id_made_of_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(5, 1_700_000_000_123_456_789))
    monkeypatch.chdir(tmp_path)
    (item,) = list_images(["./sub/../a.jpg"])
    assert (item.path, item.size, item.mtime_ns) == ((tmp_path / "a.jpg").as_posix(), 1, 1_700_000_000_123_456_789)
    assert item.id == list_images([tmp_path])[0].id


def test_ids_never_change() -> None:
    assert (
        ImageInput("/photos/a.jpg", 1, 1).id == "4f76ccc4-1584-5a94-a4d5-dd1b0705244b"
    )  # RFC 4122 by hand, with hashlib


def test_links_to_folders_are_followed_but_no_folder_is_entered_twice(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.jpg", "root/b.jpg")
    root = tmp_path / "root"
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    (root / "again").symlink_to(tmp_path / "elsewhere")
    assert listed(root) == ["again/a.jpg", "b.jpg"]


def test_dangling_and_circular_links_are_listed_so_that_they_fail_by_name(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    assert (
        listed(tmp_path) == listed(tmp_path, tmp_path / "gone.jpg", tmp_path / "self.jpg") == ["gone.jpg", "self.jpg"]
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_are_passed_over_since_reading_them_would_never_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert listed(tmp_path) == []
    assert list_images([tmp_path / "pipe.jpg"]).warnings == (
        f"'{tmp_path}/pipe.jpg' is not a file or folder ({tmp_path}/pipe.jpg)",
    )


def test_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file or folder.*nowhere"):
        list_images([tmp_path, tmp_path / "nowhere"])


def test_name_that_is_not_utf8_is_listed_in_a_form_that_stores_take(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (item,) = list_images([tmp_path])
    assert item.path.endswith("caf\ufffd.jpg")
    assert item.id


def test_sidecars_and_captions_become_fields_and_the_table_has_the_last_word(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "a.txt").write_text("from the text\n")
    (tmp_path / "b.json").write_text('{"caption": "from the object", "rating": 4}')
    (tmp_path / "table.csv").write_text("image,caption,rating\nb.jpg,from the table,5\nc.jpg,no such image,1\n")
    images = list_images([tmp_path], captions=tmp_path / "table.csv")
    assert [dict(item.fields) for item in images] == [
        {"captions": ["from the text"]},
        {"captions": ["from the table"], "rating": "5"},
    ]
    assert images.warnings == ("image in table.csv that is not among the images given (c.jpg)",)
    (named,) = list_images([tmp_path / "a.jpg"])
    assert named.fields == {"captions": ["from the text"]}
