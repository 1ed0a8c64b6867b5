"""Names beside vectors as they are found: repeated, null, numbers, with a mark at the beginning, with any ends of lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2c_search.sources import list_images
from t2c_search.stores.protocol import VectorStore
from tests.indexing.support import DIM, contents
from tests.sources.test_embeddings import embed

ROWS = np.random.default_rng(20270102).standard_normal((6, DIM)).astype(np.float32)


def save_parts(folder: Path, *parts: list[Any]) -> None:
    at = 0
    for number, names in enumerate(parts):
        np.save(folder / f"img_emb_{number}.npy", ROWS[at : at + len(names)])
        pq.write_table(pa.table({"image_path": names}), folder / f"metadata_{number}.parquet")
        at += len(names)


def stored(folder: Path, store: VectorStore) -> tuple[dict[str, int], tuple[str, ...]]:
    """Index a folder; return which row each name's vector is of, and what was remarked."""
    images = list_images([folder])
    report = embed(folder, images, store)
    assert (report.indexed, report.failures) == (len(images), ())
    cosines = {path: ROWS @ vector for path, (_, vector) in contents(store).items()}
    return {path.removeprefix(f"{folder}/"): int(np.argmax(found)) for path, found in cosines.items()}, images.warnings


def test_keys_that_repeat_between_parts_are_images_of_their_own(tmp_path: Path, store: VectorStore) -> None:
    save_parts(tmp_path, ["000", "a.tar::001"], ["000", "a.tar::001", "002"])
    found, warnings = stored(tmp_path, store)
    assert found == {
        "img_emb_0.npy::000": 0, "img_emb_0.npy::a.tar::001": 1,
        "img_emb_1.npy::000": 2, "img_emb_1.npy::a.tar::001": 3, "img_emb_1.npy::002": 4,
    }  # fmt: skip
    assert warnings == ()


def test_a_key_that_repeats_within_a_part_is_told(tmp_path: Path, store: VectorStore) -> None:
    save_parts(tmp_path, ["000", "001", "000"])
    found, (warning,) = stored(tmp_path, store)
    assert found == {"img_emb_0.npy::000": 0, "img_emb_0.npy::001": 1}
    assert warning.startswith("row whose image_path another row of its file has passed over")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([0, 17, 2], {"0": 0, "17": 1, "2": 2}),
        ([0, None, 2], {"0": 0, "2": 2}),
        (pa.array([0.0, None, 2.0]), {"0": 0, "2": 2}),
        (["x", None, ""], {"x": 0}),
        ([b"x", b"y", None], {"x": 0, "y": 1}),
    ],
)
def test_names_that_are_null_or_no_text(
    tmp_path: Path, store: VectorStore, names: Any, expected: dict[str, int]
) -> None:
    save_parts(tmp_path, names)
    found, warnings = stored(tmp_path, store)
    assert found == {f"img_emb_0.npy::{name}": row for name, row in expected.items()}
    assert [line.startswith("row without image_path passed over") for line in warnings] == [True] * (len(expected) < 3)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [0, 1, 3])
def test_names_a_line_with_a_mark_and_any_ends(tmp_path: Path, store: VectorStore, end: str, last: int) -> None:
    """The letters that Python's ``splitlines`` takes for ends of lines are letters here."""
    names = ["a.jpg", "b\u2028c.jpg", "", "d\x0be\x85.jpg"]
    np.save(tmp_path / "image_embeddings.npy", ROWS[:4])
    (tmp_path / "image_names.txt").write_bytes(("\ufeff" + end.join(names) + last * end).encode())
    found, warnings = stored(tmp_path, store)
    assert found == {f"image_embeddings.npy::{name}": row for row, name in enumerate(names) if name}
    assert len(warnings) == 1
