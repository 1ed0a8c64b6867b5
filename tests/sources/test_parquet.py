"""Parquet tables are read forwards a little at a time, whatever their row groups; images that stayed files are found."""

from __future__ import annotations

import gc
import io
import random
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2c_search.errors import ImageError
from t2c_search.indexing import reuse
from t2c_search.sources import list_images, read_image
from t2c_search.sources.containers import parquet as source
from t2c_search.stores.protocol import VectorStore
from tests.indexing.support import COUNT, contents, index, picture

CHANCE = np.random.default_rng(20261125)
HUGGING_FACE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
MEMORY = """
import sys, tracemalloc
import pyarrow.parquet
from t2c_search.sources import read_image
tracemalloc.start()
for row in map(int, sys.argv[2:]):
    assert len(read_image(f"{sys.argv[1]}::image/{row}")) == 8000
print(pyarrow.default_memory_pool().max_memory() + tracemalloc.get_traced_memory()[1])
"""


def save(path: Path, images: list[bytes], **options: object) -> Path:
    """Write a table as pyarrow does by default: all rows in one row group."""
    pq.write_table(pa.table({"image": [{"bytes": image, "path": "x.jpg"} for image in images]}), path, **options)
    assert pq.ParquetFile(path).metadata.num_row_groups == 1
    return path


@pytest.mark.parametrize("rows", [("11999",), ("0", "1", "2000", "3", "11999", "17")])
def test_a_row_group_of_any_size_is_never_held(rows: tuple[str, ...], tmp_path: Path) -> None:
    """Of 96 MB in one group, by pyarrow's and Python's own count."""
    table = save(tmp_path / "a.parquet", [CHANCE.bytes(8000) for _ in range(12_000)])
    run = subprocess.run([sys.executable, "-c", MEMORY, str(table), *rows], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 64 << 20


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of the tables that were opened, as often as they were."""
    addresses: list[str] = []
    open_binary = source.open_binary

    def noting(address: str) -> object:
        addresses.append(address)
        return open_binary(address)

    monkeypatch.setattr(source, "open_binary", noting)
    return addresses


def test_rows_in_order_are_read_in_one_go(tmp_path: Path, opened: list[str]) -> None:
    images = [CHANCE.bytes(size) for size in CHANCE.integers(1, 60_000, 1500)]  # 45 MB, more than is kept
    table = save(tmp_path / "a.parquet", images)
    assert [read_image(f"{table}::image/{row}") for row in range(1500)] == images
    assert len(opened) == 2  # for the borders of its groups, and for their rows
    backwards = list(range(1499, 1400, -1))
    assert [read_image(f"{table}::image/{row}") for row in backwards] == [images[row] for row in backwards]
    assert len(opened) == 2  # they were kept


@pytest.mark.parametrize("room", [256 << 20, 10 << 20])
def test_large_rows_are_read_in_one_go_into_a_collection_that_is_not_empty(
    room: int,
    tmp_path: Path,
    photos: list[Path],
    store: VectorStore,
    opened: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And held within the room that there is: rows beyond are not looked for in the collection."""
    monkeypatch.setattr(reuse, "_ROOM", reuse._Room(room))
    index(list_images(photos), store)
    images = [_bitmap(number) for number in range(60)]
    assert len(images[0]) > 1 << 20
    rows = [*images, *(photo.read_bytes() for photo in photos)]
    table = save(tmp_path / "a.parquet", rows, write_batch_size=1, use_dictionary=False)  # a page is held as a whole
    listed = list_images([table])
    opened.clear()
    tracemalloc.start()
    report = index(listed, store)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    fits = room > sum(map(len, images))
    assert (report.indexed, report.copied) == ((60, COUNT) if fits else (60 + COUNT, 0))
    assert len(opened) <= (2 if fits else 3)
    assert peak < min(room, sum(map(len, images))) + (20 << 20)
    gc.collect()
    assert reuse._ROOM._left == room


def _bitmap(seed: int) -> bytes:
    content = io.BytesIO()
    picture(seed, (600, 600)).save(content, "BMP")
    return content.getvalue()


def test_rows_in_any_order_and_from_threads_are_the_same(tmp_path: Path) -> None:
    images = [CHANCE.bytes(size) for size in CHANCE.integers(1, 60_000, 600)]
    table = save(tmp_path / "a.parquet", images)
    rows = [*range(600), *random.Random(20261125).choices(range(600), k=60)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: read_image(f"{table}::image/{row}"), rows))
    assert found == [images[row] for row in rows]
    for row in (-1, 600):
        with pytest.raises(ImageError, match="the row of table .* cannot be read"):
            read_image(f"{table}::image/{row}")


def test_damage_inside_a_row_group_costs_the_rows_behind_it_and_no_time(tmp_path: Path, opened: list[str]) -> None:
    images = [CHANCE.integers(0, 9, 10_000, np.uint8).tobytes() for _ in range(4000)]  # so that it is compressed
    table = save(tmp_path / "a.parquet", images, compression="zstd", use_dictionary=False)
    content = bytearray(table.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1000] = bytes(1000)
    table.write_bytes(content)
    reasons: list[str] = []
    for row in range(4000):
        try:
            assert read_image(f"{table}::image/{row}") == images[row]
        except ImageError as exc:
            reasons.append(str(exc))
    assert 1000 < len(reasons) < 3500
    assert len(set(reasons)) == 1
    assert "the row of table" in reasons[0]
    assert len(opened) == 2


def test_images_that_stayed_files_are_found_by_their_path(
    photos: list[Path], tmp_path: Path, store: VectorStore
) -> None:
    """As Hugging Face writes a data set that does not embed its files: relative to the table, or absolute."""
    rows = [
        {"bytes": None, "path": f"photos/{photos[0].name}"},
        {"bytes": None, "path": str(photos[1])},
        {"bytes": photos[2].read_bytes(), "path": "gone.jpg"},
        {"bytes": None, "path": "gone.jpg"},
        {"bytes": None, "path": None},
    ]
    pq.write_table(pa.table({"image": pa.array(rows, HUGGING_FACE)}), tmp_path / "all.parquet")
    images = list_images([tmp_path / "all.parquet"])
    assert [read_image(item.path) for item in images[:3]] == [path.read_bytes() for path in photos[:3]]
    report = index(images, store)
    assert {failure.path.rpartition("/")[2]: failure.reason for failure in report.failures} == {
        "3": "the file cannot be read: No such file or directory",
        "4": "the row holds no image",
    }
    assert {payload["file_name"] for payload, _ in contents(store).values()} == {item["path"] for item in rows[:3]}


def test_an_image_that_stayed_at_a_remote_address_is_fetched(photos: list[Path]) -> None:
    import fsspec

    with fsspec.open("memory://parquet/far/a.jpg", "wb") as file:
        file.write(photos[0].read_bytes())
    rows = [{"bytes": None, "path": "memory://parquet/far/a.jpg"}, {"bytes": None, "path": "far/a.jpg"}]
    with fsspec.open("memory://parquet/a.parquet", "wb") as file:
        pq.write_table(pa.table({"image": pa.array(rows, HUGGING_FACE)}), file)
    images = list_images(["memory://parquet/a.parquet"])
    assert [read_image(item.path) for item in images] == [photos[0].read_bytes()] * 2
