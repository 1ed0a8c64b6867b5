"""A damaged source is a warning, a damaged member a failure; each by name and reason, and the run goes on."""

from __future__ import annotations

import io
import os
import random
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2c_search.errors import ImageError, UsageError
from t2c_search.sources import ImageList, list_images, read_image, require_images
from t2c_search.stores.protocol import VectorStore
from tests.indexing.support import COUNT, index

from .kinds import as_bytes, as_coco, as_csv, as_hugging_face, as_json_lines, as_tar, as_zip


def only_warning(images: ImageList) -> str:
    (warning,) = images.warnings
    return warning


def test_a_tar_that_is_cut_off_gives_what_lies_before_the_cut(photos: list[Path], store: VectorStore) -> None:
    tar = as_tar(photos)
    with tarfile.open(tar) as archive:
        last = archive.getmember("./set/0003.jpg")
    tar.write_bytes(tar.read_bytes()[: last.offset_data + 100])
    images = list_images([tar, photos[0].parent])
    assert "all.tar" in only_warning(images)
    assert len(images) == 4 + COUNT
    report = index(images, store)
    assert report.indexed == 3 + COUNT
    (failure,) = report.failures
    assert failure.path == f"{tar}::set/0003.jpg"
    assert failure.reason == f"the archive is cut off: 100 of the member's {last.size} bytes are there"


def test_a_damaged_tar_header_is_not_taken_for_the_end(photos: list[Path]) -> None:
    tar = as_tar(photos)
    content = bytearray(tar.read_bytes())
    with tarfile.open(tar) as archive:
        start = archive.getmember("./set/0004.jpg").offset
    content[start : start + 200] = b"\xff" * 200
    tar.write_bytes(content)
    images = list_images([tar])
    assert len(images) == 4
    assert f"damaged at byte {start}" in images.warnings[0]
    assert read_image(images[3].path) == photos[3].read_bytes()


def test_a_damaged_zip_member_fails_alone(photos: list[Path], store: VectorStore) -> None:
    path = as_zip(photos)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("set/0002.jpg")
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 60 : entry.header_offset + 90] = bytes(30)
    path.write_bytes(content)
    report = index(list_images([path]), store)
    assert report.indexed == COUNT - 1
    (failure,) = report.failures
    assert failure.path == f"{path}::set/0002.jpg"
    assert failure.reason.startswith("the archive's member cannot be read: ")


def test_members_that_are_empty_or_beyond_the_limit_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"empty.jpg": 0, "large.jpg": 2001}
    with tarfile.open(tmp_path / "a.tar", "w") as tar, zipfile.ZipFile(tmp_path / "a.zip", "w", 8) as zipped:
        for name, size in sizes.items():
            header = tarfile.TarInfo(name)
            header.size = size
            tar.addfile(header, io.BytesIO(bytes(size)))
            zipped.writestr(name, bytes(size))
    pq.write_table(pa.table({"image": [bytes(size) for size in sizes.values()]}), tmp_path / "a.parquet")
    monkeypatch.setattr("t2c_search.decoding.files.MAX_BYTES", 2000)
    for source in ("a.tar", "a.zip", "a.parquet"):
        empty, large = list_images([tmp_path / source])
        with pytest.raises(ImageError, match="the file is empty"):
            read_image(empty.path)
        with pytest.raises(ImageError, match="larger than the limit"):
            read_image(large.path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tar", b"", "a.tar' cannot be read: empty file"),
        ("a.tar", b"\x1f\x8b not a tar", "a.tar' cannot be read"),
        ("a.tar.gz", b"x", "cannot be read in place: unpack it"),
        ("a.zip", b"PK not a zip", "a.zip' cannot be read: File is not a zip file"),
        ("a.parquet", b"PAR1", "a.parquet' cannot be read"),
        ("a.csv", b"words;text\nx;y\n", "a.csv' has no column for the image: it has 'words', 'text'"),
        ("a.csv", b"", "has no column for the image: it has none"),
        ("a.json", b"{", "a.json' is not JSON"),
        ("a.json", b"[" * 100_000, "a.json' is not JSON"),
        ("a.json", b'{"rows": []}', "a.json' is neither COCO annotations"),
        ("a.json", b'{"images": [3]}', "image that is not a JSON object passed over"),
        ("a.jsonl", b'{"image": "x.jpg"\n[1]\n', r"not a JSON object passed over \(2 times"),
        ("a.jsonl", b'{"caption": "x"}\n', "row without an image passed over"),
    ],
)
def test_a_source_that_is_damaged_as_a_whole_is_a_warning(
    tmp_path: Path, photos: list[Path], name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    images = list_images([tmp_path / name, photos[0]])
    assert [item.path for item in images] == [str(photos[0])]
    assert re.search(message, only_warning(images))


@pytest.mark.parametrize("make", [as_tar, as_zip, as_bytes, as_csv])
@pytest.mark.parametrize("name", [b"caf\xe9", b"b\xe9low/all"])
def test_a_container_whose_name_is_not_utf8_is_a_warning(
    make: Callable[[list[Path]], Path], name: bytes, photos: list[Path], tmp_path: Path
) -> None:
    source = make(photos)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).with_suffix(source.suffix)
    try:
        odd.parent.mkdir(exist_ok=True)
        source.rename(odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    images = list_images([odd, f"{odd}::set/0001.jpg", photos[0]])
    assert [item.path for item in images] == [str(photos[0])]
    assert "its name is not valid UTF-8: rename the file" in images.warnings[0]
    images.warnings[0].encode()


@pytest.mark.parametrize("depth", [300, 600, 900])
def test_a_row_that_is_nested_deep_loses_that_field_alone(depth: int, tmp_path: Path, photos: list[Path]) -> None:
    row = f'{{"image": "{photos[0]}", "x": {"[" * depth}{"]" * depth}, "rating": 1}}'
    (tmp_path / "a.jsonl").write_text(row)
    (item,) = images = list_images([tmp_path / "a.jsonl"])
    assert item.fields == {"rating": 1}
    assert "field 'x' passed over: it is nested" in only_warning(images)


@pytest.mark.parametrize("make", [as_tar, as_zip])
def test_archives_within_archives_are_remarked(make: Callable[[list[Path]], Path], tmp_path: Path) -> None:
    inner = tmp_path / "shards" / "inner.tar.GZ"
    inner.parent.mkdir()
    inner.write_bytes(b"x")
    outer = make([inner])
    with pytest.raises(UsageError, match="archive in an archive is not opened: unpack the outer one .*inner.tar.GZ"):
        require_images([outer])


def test_a_parquet_table_without_images_says_so(tmp_path: Path) -> None:
    pq.write_table(pa.table({"words": ["x"]}), tmp_path / "a.parquet")
    images = list_images([tmp_path / "a.parquet"])
    assert "row without an image passed over; one of image, file_name" in only_warning(images)


def test_rows_without_an_image_fail_alone(tmp_path: Path, photos: list[Path], store: VectorStore) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [photos[0].read_bytes(), None, b"no image"]}), path)
    report = index(list_images([path]), store)
    assert report.indexed == 1
    assert {failure.path: failure.reason.partition(" (")[0] for failure in report.failures} == {
        f"{path}::image/1": "the row holds no image",
        f"{path}::image/2": "not an image of a known format",
    }


def test_images_that_a_manifest_names_and_that_are_not_there_fail_by_name(
    tmp_path: Path, photos: list[Path], store: VectorStore
) -> None:
    (tmp_path / "a.csv").write_text("image\nphotos/0000.jpg\nphotos/none.jpg\nnone.tar::a.jpg\n")
    report = index(list_images([tmp_path / "a.csv"]), store)
    assert report.indexed == 1
    reasons = {failure.path.removeprefix(f"{tmp_path}/"): failure.reason for failure in report.failures}
    assert reasons["photos/none.jpg"] == "the file cannot be read: No such file or directory"
    assert reasons["none.tar::a.jpg"].endswith("none.tar' cannot be read: No such file or directory")


@pytest.mark.parametrize("make", [as_tar, as_zip, as_hugging_face, as_csv, as_json_lines, as_coco])
def test_a_few_wrong_bytes_give_images_or_reasons_and_nothing_else(
    make: Callable[[list[Path]], Path], photos: list[Path]
) -> None:
    source = make(photos)
    original = source.read_bytes()
    chance = random.Random(20261122)
    for _ in range(60):
        content = bytearray(original)
        for _ in range(chance.randint(1, 6)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        source.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
        images = list_images([source])
        assert len(images) >= COUNT or images.warnings or make in (as_zip, as_csv, as_json_lines, as_coco)
        for item in images:
            try:
                assert read_image(item.path)
            except ImageError as exc:
                assert str(exc)
