"""The same images in archives, tables and annotation files: ``as_tar(photos)`` and its like write one beside them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def notes(number: int) -> dict[str, Any]:
    return {"caption": f"picture {number}", "rating": number}


def members(photos: list[Path]) -> list[tuple[str, bytes]]:
    """A webdataset shard: captions before their image, fields behind it."""
    found = []
    for number, path in enumerate(photos):
        found += [
            (f"set/{path.stem}.txt", f"picture {number}".encode()),
            (f"set/{path.name}", path.read_bytes()),
            (f"set/{path.stem}.json", json.dumps({"rating": number}).encode()),
        ]
    return [*found, ("set/readme.md", b"not an image"), ("__MACOSX/set/._0001.jpg", b"x"), (".hidden/0001.jpg", b"x")]


def as_tar(photos: list[Path], format: int = tarfile.PAX_FORMAT) -> Path:
    path = photos[0].parent.parent / "all.tar"
    with tarfile.open(path, "w", format=format) as archive:
        for name, content in members(photos):
            header = tarfile.TarInfo("./" + name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path


def as_zip(photos: list[Path]) -> Path:
    path = photos[0].parent.parent / "all.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members(photos):
            archive.writestr(name, content)
    return path


def write_parquet(photos: list[Path], images: pa.Array, name: str = "image") -> Path:
    path = photos[0].parent.parent / "all.parquet"
    table = pa.table(
        {
            name: images,
            "Caption": [f"picture {number}" for number in range(len(photos))],
            "rating": list(range(len(photos))),
            "embedding": [[0.5] * 100] * len(photos),
        }
    )
    pq.write_table(table, path, row_group_size=4)
    return path


def as_bytes(photos: list[Path]) -> Path:
    return write_parquet(photos, pa.array([path.read_bytes() for path in photos], pa.large_binary()), "jpg")


def as_hugging_face(photos: list[Path]) -> Path:
    return write_parquet(photos, pa.array([{"bytes": path.read_bytes(), "path": path.name} for path in photos]))


def as_paths(photos: list[Path]) -> Path:
    return write_parquet(photos, pa.array([f"photos/{path.name}" for path in photos]), "Image_Path")


def as_csv(photos: list[Path]) -> Path:
    path = photos[0].parent.parent / "all.csv"
    rows = [f"photos/{photo.name};picture {number};{number}" for number, photo in enumerate(photos)]
    path.write_text("\n".join(["file_name;caption;rating", *rows]))
    return path


def as_json_lines(photos: list[Path]) -> Path:
    path = photos[0].parent.parent / "all.jsonl"
    path.write_text("".join(json.dumps({"path": str(photo), **notes(n)}) + "\n" for n, photo in enumerate(photos)))
    return path


def as_coco(photos: list[Path]) -> Path:
    path = photos[0].parent / "coco.json"  # images beside it
    images = [{"id": 7 + n, "file_name": photo.name, "width": 3} for n, photo in enumerate(photos)]
    captions = [{"id": n, "image_id": 7 + n, "caption": f"picture {n}"} for n in range(len(photos))]
    boxes = [{"id": 50 + n, "image_id": 7, "category_id": c, "segmentation": [[1, 2]]} for n, c in enumerate((2, 1, 2))]
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    path.write_text(json.dumps({"images": images, "annotations": captions + boxes, "categories": categories}))
    return path
