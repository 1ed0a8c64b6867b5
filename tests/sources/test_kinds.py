"""Whatever holds the images, the same images give the same vectors as from a folder, and their fields come along."""

from __future__ import annotations

import json
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2c_search.collection.fitting import choose_sample, fit_on_images
from t2c_search.errors import ImageError
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedder import LocalEmbedder
from t2c_search.indexing.pairs import PairModels
from t2c_search.sources import UNKNOWN_SIZE, ImageList, list_images, read_image
from t2c_search.sources.lister import Listing
from t2c_search.sources.remarks import Remarks
from t2c_search.sources.tables.manifests import list_manifest
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore
from tests.indexing.support import (
    COUNT,
    TinyEncoder,
    contents,
    create,
    index,
    no_encoder,
    note_reads,
    picture,
    save_pictures,
)

from .kinds import (
    as_bytes,
    as_coco,
    as_csv,
    as_hugging_face,
    as_json_lines,
    as_paths,
    as_tar,
    as_zip,
)

SOURCES: dict[str, Callable[[list[Path]], Path]] = {
    "tar": as_tar,
    "tar of GNU": lambda photos: as_tar(photos, tarfile.GNU_FORMAT),
    "zip": as_zip,
    "parquet of bytes": as_bytes,
    "parquet of Hugging Face": as_hugging_face,
    "parquet of paths": as_paths,
    "CSV": as_csv,
    "JSON lines": as_json_lines,
    "COCO": as_coco,
}
every_source = pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())


def vectors(store: VectorStore, images: ImageList) -> np.ndarray:
    found = contents(store)
    return np.stack([found[item.path][1] for item in images])


@every_source
def test_the_same_images_give_the_same_vectors_as_from_a_folder(
    make: Callable[[list[Path]], Path], photos: list[Path], store: VectorStore
) -> None:
    plain = create(open_store(":memory:", "plain"))
    index(list_images([photos[0].parent]), plain)
    images = list_images([make(photos)])
    report = index(images, store, batch_size=4)
    assert (report.indexed, report.failures) == (COUNT, ())
    np.testing.assert_allclose(vectors(store, images), vectors(plain, list_images(photos)), atol=1e-6)
    hashes = {payload["hash"] for payload, _ in contents(plain).values()}
    assert {payload["hash"] for payload, _ in contents(store).values()} == hashes


@every_source
def test_captions_and_fields_come_along(make: Callable[[list[Path]], Path], photos: list[Path]) -> None:
    for number, item in enumerate(list_images([make(photos)])):
        assert item.fields["captions"] == [f"picture {number}"]
        if make is as_coco:
            assert item.fields.get("categories") == (["cat", "dog"] if number == 0 else None)
        else:
            assert item.fields["rating"] in (number, str(number))
        assert not {"embedding", "jpg", "image"} & item.fields.keys()


@every_source
def test_a_second_run_embeds_nothing_and_a_changed_source_only_what_changed(
    make: Callable[[list[Path]], Path], photos: list[Path], store: VectorStore
) -> None:
    index(list_images([make(photos)]), store)
    assert index(list_images([make(photos)]), store, encoder=no_encoder).unchanged == COUNT
    before = vectors(store, list_images([make(photos)]))
    picture(99).save(photos[2])
    images = list_images([make(photos)])
    report = index(images, store)
    assert (report.indexed, report.unchanged) == (1, COUNT - 1)
    assert (np.abs(vectors(store, images) - before).max(1) > 1e-3).tolist() == [row == 2 for row in range(COUNT)]


@every_source
def test_threads_read_what_one_thread_reads(make: Callable[[list[Path]], Path], photos: list[Path]) -> None:
    paths = [item.path for item in list_images([make(photos)])] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read_image, paths)) == [read_image(path) for path in paths]


@every_source
def test_a_path_is_enough_to_list_an_image_again(make: Callable[[list[Path]], Path], photos: list[Path]) -> None:
    """As the list of failed paths is tried again; those of tables are their own files, without the table's fields."""
    images = list_images([make(photos)])
    (again,) = list_images([images[3].path])
    assert (again.path, again.size, again.mtime_ns) == (images[3].path, images[3].size, images[3].mtime_ns)
    assert read_image(again.path) == photos[3].read_bytes()
    if "::" in again.path:
        assert again.fields == images[3].fields


def test_paths_sizes_and_times_of_members(photos: list[Path]) -> None:
    tar, zipped, parquet = as_tar(photos), as_zip(photos), as_hugging_face(photos)
    first = [list_images([source])[0] for source in (tar, zipped, parquet)]
    assert [item.path for item in first] == [
        f"{tar}::set/0000.jpg", f"{zipped}::set/0000.jpg", f"{parquet}::image/0"
    ]  # fmt: skip
    size = photos[0].stat().st_size
    assert [item.size for item in first] == [size, size, UNKNOWN_SIZE]
    assert [item.mtime_ns for item in first] == [path.stat().st_mtime_ns for path in (tar, zipped, parquet)]
    assert first[2].fields["file_name"] == "0000.jpg"


def test_members_know_their_name_and_the_folders_and_archive_above_them(photos: list[Path], store: VectorStore) -> None:
    tar = as_tar(photos)
    index(list_images([tar]), store)
    payload, _ = contents(store)[f"{tar}::set/0003.jpg"]
    assert payload["name"] == "0003.jpg"
    assert payload["folders"][-2:] == ["all.tar", "set"]
    assert (payload["bytes"], payload["format"]) == (photos[3].stat().st_size, "JPEG")


@pytest.mark.parametrize("make", [as_tar, as_zip, as_bytes])
def test_an_archive_that_changes_between_two_reads_is_read_anew(
    make: Callable[[list[Path]], Path], photos: list[Path]
) -> None:
    def make_anew(photos: list[Path]) -> Path:
        source = make(photos)
        os.utime(source, ns=(0, next(moments)))  # the clock of a file system may not have moved on
        return source

    moments = count(1_000_000_000)
    item = list_images([make_anew(photos)])[1]
    before = read_image(item.path)
    photos[1].write_bytes(photos[4].read_bytes())
    make_anew(photos)
    assert before != read_image(item.path) == photos[4].read_bytes()
    make_anew(photos[:1])
    with pytest.raises(ImageError, match="cannot be read|no such member"):
        read_image(item.path)


def test_a_file_whose_name_looks_like_a_member_is_that_file(tmp_path: Path, photos: list[Path]) -> None:
    odd = tmp_path / "photos" / "all.tar::0001.jpg"
    odd.write_bytes(photos[1].read_bytes())
    images = list_images([tmp_path / "photos"])
    assert [read_image(item.path) for item in images if item.path == str(odd)] == [photos[1].read_bytes()]
    assert list_images([odd])[0].size == odd.stat().st_size


def test_members_may_be_named_in_a_manifest(tmp_path: Path, photos: list[Path], store: VectorStore) -> None:
    as_tar(photos)
    (tmp_path / "some.csv").write_text("image,split\nall.tar::set/0001.jpg,train\nall.tar::set/0004.jpg,test\n")
    images = list_images([tmp_path / "some.csv"])
    assert [read_image(item.path) for item in images] == [photos[1].read_bytes(), photos[4].read_bytes()]
    assert [item.fields["split"] for item in images] == ["train", "test"]
    assert index(images, store).indexed == 2
    assert index(list_images([tmp_path / "some.csv"]), store, encoder=no_encoder).unchanged == 2


def test_members_below_folders_that_are_called_like_members_have_their_archives_time(photos: list[Path]) -> None:
    as_tar(photos).rename(photos[0].parent / "a::b.tar")
    (photos[0].parent / "some.csv").write_text("image\na::b.tar::set/0001.jpg\n")
    (item,) = list_images([photos[0].parent / "some.csv"])
    assert item.mtime_ns == (photos[0].parent / "a::b.tar").stat().st_mtime_ns


def test_rows_of_one_image_are_joined_where_its_first_row_stands(tmp_path: Path) -> None:
    rows = [
        {"image": "2.jpg", "caption": "one", "by": "Ann"},
        {"image": "1.jpg", "caption": "other", "by": "Ann"},
        {"image": "2.jpg", "caption": "two", "by": "Bo"},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    second, first = list_images([tmp_path / "rows.json"])
    assert (first.path, second.path) == (f"{tmp_path}/1.jpg", f"{tmp_path}/2.jpg")
    assert second.fields == {"captions": ["one", "two"], "by": ["Ann", "Bo"]}
    assert first.fields == {"captions": ["other"], "by": "Ann"}


def test_a_long_manifest_is_listed_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("w") as file:
        for row in range(20_000):
            file.write(
                json.dumps({"image": f"s3://bucket/{row % 15_000}.jpg", "caption": f"{row} " + "x" * 500}) + "\n"
            )
    tracemalloc.start()
    try:
        assert sum(1 for _ in list_manifest(str(path), Listing(Remarks()))) == 15_000
        assert tracemalloc.get_traced_memory()[1] < 2 << 20  # the captions alone are 10 MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["caf\\ud83d.jpg", "a\\u0000.jpg", "file:///a%00.jpg"])
def test_names_in_a_manifest_that_no_file_can_have_fail_alone(name: str, tmp_path: Path, photos: list[Path]) -> None:
    (tmp_path / "rows.jsonl").write_text(f'{{"image": "{name}"}}\n{{"image": "photos/0001.jpg"}}\n')
    broken, whole = list_images([tmp_path / "rows.jsonl"])
    with pytest.raises(ImageError, match="the file cannot be read"):
        read_image(broken.path)
    assert read_image(whole.path) == photos[1].read_bytes()


def test_coco_annotations_describe_images_in_a_folder_elsewhere(tmp_path: Path, photos: list[Path]) -> None:
    annotations = as_coco(photos).rename(tmp_path / "captions.json")
    images = list_images([tmp_path / "photos"], captions=annotations)
    assert [item.fields["captions"] for item in images] == [[f"picture {n}"] for n in range(COUNT)]
    assert images.warnings == ()


def test_archives_and_videos_in_a_folder_are_remarked_not_opened(photos: list[Path]) -> None:
    as_tar(photos).rename(photos[0].parent / "all.tar")
    images = list_images([photos[0].parent])
    assert len(images) == COUNT
    assert images.warnings == (
        f".tar file in a folder is not opened: name it, or a pattern such as '*.tar' ({photos[0].parent}/all.tar)",
    )


def test_columns_of_every_type_become_fields_that_stores_take(tmp_path: Path, photos: list[Path]) -> None:
    columns = {
        "image": [photos[0].read_bytes()],
        "day": [date(2024, 5, 1)],
        "moment": [datetime(2024, 5, 1, 10, 11)],
        "price": [Decimal("9.50")],
        "sold": [True],
        "nothing": pa.array([None], pa.string()),
        "tags": [["a", "b"]],
        "place": [{"lat": 1.5, "lon": 2}],
        "thumbnail": [b"bytes"],
        "big": pa.array([2**63], pa.uint64()),
        "WIDTH": [3],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    images = list_images([tmp_path / "a.parquet"])
    assert images[0].fields == {
        "day": "2024-05-01", "moment": "2024-05-01T10:11:00", "price": 9.5, "sold": True, "tags": ["a", "b"],
        "place": {"lat": 1.5, "lon": 2}, "big": str(2**63),
    }  # fmt: skip
    assert len(images.warnings) == 2
    assert "field 'thumbnail' passed over: it holds vectors or bytes" in images.warnings[0]
    assert "field 'width' passed over: the image file itself gives it" in images.warnings[1]


def test_a_sample_to_fit_on_is_read_from_the_front_of_an_archive_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any other order every image would need another shard's headers, or another row group."""
    read = note_reads(monkeypatch)
    images = list_images([as_tar(save_pictures(tmp_path / "photos", 60))])
    models = PairModels(TinyEncoder(1), TinyEncoder(2), lambda: (TinyEncoder(1), TinyEncoder(2)))
    fit_on_images(choose_sample(images, 40), models, LocalEmbedder(Batching(8, 1)), criterion="r2")
    assert len(read) == 40
    assert read == [item.path for item in images if item.path in read]
    assert set(read) == {item.path for item in sorted(images, key=lambda item: item.id)[:40]}
