import os
from collections.abc import Callable
from pathlib import Path

import pytest

from t2c_search.errors import ImageError, UsageError
from t2c_search.sources import ImageInput, list_images, read_image
from t2c_search.sources.addresses import read_range


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def listed(folder: Path, *paths: str | Path) -> list[str]:
    return [os.path.relpath(item.path, folder) for item in list_images(paths or [folder])]


def test_folder_gives_its_images_recursively_in_order_of_name(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.JPG",
        "a.heic",
        "c/z.Tiff",
        "c/y.webp",
        "c/d/x.jpeg",
        "e.png",
        "f.gif",
        "g.bmp",
        "h.HEIF",
        "i.tif",
        "j.Avif",
    )
    touch(tmp_path, "notes.txt", "movie.mp4", "noending", ".hidden.jpg", ".thumbnails/t.jpg", "c/._y.webp")
    assert listed(tmp_path) == [
        "a.heic", "b.JPG", "c/d/x.jpeg", "c/y.webp", "c/z.Tiff", "e.png", "f.gif", "g.bmp", "h.HEIF", "i.tif", "j.Avif"
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


def no_endless_wait(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that makes named pipes: whoever opens one the usual way waits for ever."""
    return pytest.mark.timeout(20)(pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")(test))


@no_endless_wait
def test_pipes_are_passed_over_since_reading_them_would_never_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert listed(tmp_path) == []
    assert list_images([tmp_path / "pipe.jpg"]).warnings == (
        f"'{tmp_path}/pipe.jpg' is not a file or folder ({tmp_path}/pipe.jpg)",
    )


@no_endless_wait
def test_pipes_beside_an_image_are_remarked(tmp_path: Path) -> None:
    touch(tmp_path, "photo.jpg")
    for name in ("photo.txt", "photo.json"):
        os.mkfifo(tmp_path / name)
    images = list_images([tmp_path])
    assert [dict(item.fields) for item in images] == [{}]
    assert images.warnings == (
        f"sidecar passed over: it is a pipe or a device, not a regular file (2 times, first {tmp_path / 'photo.txt'})",
    )


@no_endless_wait
def test_pipes_that_a_table_names_fail(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "image")
    os.mkfifo(tmp_path / "x.tar")
    (tmp_path / "table.csv").write_text("image\nimage\nx.tar::a.jpg\n")
    named = list_images([tmp_path / "table.csv"])
    assert [item.path for item in named] == [f"{tmp_path}/image", f"{tmp_path}/x.tar::a.jpg"]
    for item in named:
        with pytest.raises(ImageError, match="cannot be read: it is a pipe or a device, not a regular file"):
            read_image(item.path)
    with pytest.raises(OSError, match="not a regular file"):
        read_range(str(tmp_path / "image"), 0, 1)


@no_endless_wait
@pytest.mark.parametrize("name", ["x.tar", "x.zip", "x.parquet", "x.csv"])
def test_pipes_that_are_called_like_containers_are_a_warning(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    (warning,) = list_images([tmp_path / name]).warnings
    assert f"{name}' cannot be read: it is a pipe or a device, not a regular file" in warning


@pytest.mark.parametrize("source", ["file://{}/a%20b%C3%A9.jpg", "file://{}/*%20b%C3%A9.jpg"])
def test_file_addresses_are_percent_encoded(tmp_path: Path, source: str) -> None:
    touch(tmp_path, "a b\u00e9.jpg")
    assert [item.path for item in list_images([source.format(tmp_path)])] == [f"{tmp_path}/a b\u00e9.jpg"]
    (tmp_path / "table.csv").write_text(f"image\nfile://{tmp_path}/a%20b%C3%A9.jpg\n100%25.jpg\n")
    assert listed(tmp_path, tmp_path / "table.csv") == ["a b\u00e9.jpg", "100%25.jpg"]  # a path is none


def test_a_tilde_is_a_home_folder_for_users_that_exist_and_only_where_a_user_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "~x.jpg", "~/a.jpg", "home/a.jpg")
    (tmp_path / "table.csv").write_text("image\n~x.jpg\n~/a.jpg\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert listed(tmp_path, "~x.jpg", "~/a.jpg") == ["~x.jpg", "home/a.jpg"]
    assert listed(tmp_path, "table.csv") == ["~x.jpg", "~/a.jpg"]
    with pytest.raises(UsageError, match="no file or folder .*~nobody-here/a.jpg"):
        list_images(["~nobody-here/a.jpg"])


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
