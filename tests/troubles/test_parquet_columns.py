"""Which column of a parquet table holds the images; and no bytes in a payload, wherever they lie."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from t2c_search.errors import ImageError
from t2c_search.sources import ImageList, list_images, read_image

CHANCE = np.random.default_rng(20270101)


def picture(size: int, format: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(CHANCE.integers(0, 255, (size, size, 3), np.uint8)).save(content, format)
    return content.getvalue()


FULL, THUMBS = [picture(40) for _ in range(3)], [picture(6, "JPEG") for _ in range(3)]
NO_IMAGES = {
    "hash": [bytes(CHANCE.bytes(16)) for _ in range(3)],
    "geometry": [b"\x01\x01\0\0\0" + CHANCE.bytes(16) for _ in range(3)],
    "digest": [b"0123abcd"] * 3,
}


def table(folder: Path, columns: dict[str, Any], **options: Any) -> ImageList:
    pq.write_table(pa.table({**NO_IMAGES, **columns}), folder / "a.parquet")
    return list_images([folder / "a.parquet"], **options)


def members(images: ImageList) -> list[str]:
    return [item.path.partition("::")[2] for item in images]


@pytest.mark.parametrize(
    ("columns", "taken"),
    [
        ({"thumbnail": THUMBS, "image": FULL}, "image"),
        ({"thumbnail": THUMBS, "jpg": FULL}, "jpg"),
        ({"a_thumbnail": THUMBS, "whole": FULL}, "whole"),
        ({"whole": FULL, "a_thumbnail": THUMBS}, "whole"),
        ({"whole": FULL}, "whole"),
        ({"image": [b"\xfe no picture"] * 3, "x": FULL}, "x"),
        ({"x": pa.array(FULL).dictionary_encode()}, "x"),
        ({"x": pa.array(FULL, pa.large_binary())}, "x"),
        ({"x": pa.array(FULL, pa.binary_view())}, "x"),
        ({"x": [{"bytes": image, "path": None} for image in FULL]}, "x"),
        ({"x": pa.array([*[None] * 2, FULL[2]], pa.binary())}, "x"),
    ],
)
def test_the_image_column_is_found_by_name_and_then_by_content(
    tmp_path: Path, columns: dict[str, Any], taken: str
) -> None:
    images = table(tmp_path, columns)
    assert members(images) == [f"{taken}/{row}" for row in range(3)]
    assert read_image(images[2].path) == FULL[2]
    assert not any(item.fields for item in images)


def test_another_one_can_be_chosen(tmp_path: Path) -> None:
    columns = {"thumbnail": THUMBS, "image": FULL}
    images = table(tmp_path, columns)
    assert images.warnings[0].startswith(
        "'image' is taken for the column of images, and 'thumbnail' not: choose with --image-column"
    )
    images = table(tmp_path, columns, image_column="Thumbnail")
    assert [read_image(item.path) for item in images] == THUMBS
    assert not any("choose" in line for line in images.warnings)
    (warning,) = table(tmp_path, columns, image_column="none").warnings
    assert "lacks the image column 'none': it has hash, geometry, digest, thumbnail, image" in warning


@pytest.mark.parametrize("kind", [pa.binary(), pa.string(), pa.string_view(), pa.large_string()])
def test_paths_and_captions_may_be_of_any_type_of_text(tmp_path: Path, kind: pa.DataType) -> None:
    columns = {
        "image": pa.array([f"{number}.jpg" for number in range(3)], kind),
        "caption": pa.array([b"zw\xc3\xb6lf", b"caf\xe9", None]).cast(kind)
        if kind == pa.binary()
        else ["zwölf", None, None],
    }
    images = table(tmp_path, columns)
    assert [item.path for item in images] == [f"{tmp_path}/{number}.jpg" for number in range(3)]
    assert [item.fields for item in images] == [{"captions": ["zwölf"]}, {}, {}]


def test_a_column_of_paths_counts_before_bytes_that_are_no_images(tmp_path: Path) -> None:
    images = table(tmp_path, {"content": [b"\xfe\xfe"] * 3, "url": ["a.jpg", "b.jpg", "c.jpg"]})
    assert [Path(item.path).name for item in images] == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("plain", [True, False])
def test_lists_of_images_are_members_of_their_rows(tmp_path: Path, plain: bool) -> None:
    lists = [FULL[:2], None, FULL[2:]] if plain else [[{"bytes": image, "path": "x"} for image in FULL], [], None]
    images = table(tmp_path, {"images": lists, "caption": ["one", "two", "three"]})
    expected = ["images/0/0", "images/0/1", "images/2/0"] if plain else [f"images/0/{index}" for index in range(3)]
    assert members(images) == expected
    assert [read_image(item.path) for item in images] == FULL
    assert [item.fields["captions"] for item in images] == [["one"], ["one"], ["three" if plain else "one"]]
    assert any("row without an image passed over" in line for line in images.warnings)
    for wrong in ("images/0", "images/0/9", "images/0/-1", "images/9/0", "images/x/y"):
        with pytest.raises(ImageError):
            read_image(f"{tmp_path}/a.parquet::{wrong}")


def test_bytes_never_become_a_text_at_any_depth(tmp_path: Path) -> None:
    nested = {"thumb": b"SECRET", "n": [{"x": b"SECRET", "y": 1}], "ok": "yes"}
    columns = {
        "image": FULL,
        "blob": [b"SECRET"] * 3,
        "fixed": pa.array([b"SECRET"] * 3, pa.binary(6)),
        "coded": pa.array([b"SECRET"] * 3).dictionary_encode(),
        "meta": [nested] * 3,
        "deep": [[[b"SECRET"]]] * 3,
        "map": pa.array([[("k", b"SECRET")]] * 3, pa.map_(pa.string(), pa.binary())),
    }
    images = table(tmp_path, columns)
    for item in images:
        assert item.fields["meta"] == {"n": [{"y": 1}], "ok": "yes"}
        assert "SECRET" not in json.dumps(item.fields)
    for name in ("blob", "fixed", "coded", "meta.thumb"):
        assert any(
            line.startswith(f"field {name!r} passed over: it holds vectors or bytes") for line in images.warnings
        )
