"""From shards to hits and back to pixels, with the bundled models, as a user goes."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from t2c_search.collection import open_collection
from t2c_search.demo.world import draw
from t2c_search.errors import UsageError
from t2c_search.export.files import write_folder
from t2c_search.sources import read_image
from t2c_search.types import CLIP

from .conftest import Outcome

COUNT = 24


@pytest.fixture(scope="module")
def drawn() -> list[bytes]:
    """Pictures of the drawn world as PNG files."""
    contents = []
    for scene in draw(5, COUNT):
        file = io.BytesIO()
        Image.fromarray(scene.image).save(file, "PNG")
        contents.append(file.getvalue())
    return contents


@pytest.fixture
def folder(tmp_path: Path, drawn: list[bytes]) -> Path:
    (tmp_path / "folder").mkdir()
    for number, content in enumerate(drawn):
        (tmp_path / "folder" / f"{number:04d}.png").write_bytes(content)
    return tmp_path / "folder"


@pytest.fixture
def shards(tmp_path: Path, drawn: list[bytes]) -> str:
    """Three webdataset shards of eight pictures; the brace pattern that names them."""
    for shard in range(3):
        with tarfile.open(tmp_path / f"shard-{shard:03d}.tar", "w") as archive:
            for number in range(8 * shard, 8 * shard + 8):
                fields = {"rating": str(number % 5), "sold": f"2024-05-{number + 1:02d}"}
                for name, content in (
                    (f"{number:04d}.png", drawn[number]),
                    (f"{number:04d}.json", json.dumps(fields).encode()),
                ):
                    header = tarfile.TarInfo(name)
                    header.size = len(content)
                    archive.addfile(header, io.BytesIO(content))
    return str(tmp_path / "shard-{000..002}.tar")


def vectors(store: str) -> np.ndarray:
    """CLIP vectors in the order of the file names."""
    with open_collection("c", store) as images:
        points = next(images.store.scan(vectors=(CLIP,)))
    order = np.argsort([payload["name"] for payload in points.payloads])
    return points.vectors[CLIP][order]


def test_shards_give_the_collection_that_their_images_in_a_folder_give(
    folder: Path, shards: str, tmp_path: Path
) -> None:
    stores = []
    for source in (folder, shards):
        stores.append(str(tmp_path / f"{len(stores)}.t2c"))
        with open_collection("c", stores[-1], clip="mini") as images:
            assert images.index([source]).indexed == COUNT
            assert images.index([source]).unchanged == COUNT
    np.testing.assert_allclose(vectors(stores[1]), vectors(stores[0]), atol=1e-5)


def test_typed_fields_are_indexed_filtered_and_remembered(
    shards: str,
    tmp_path: Path,
    t2c: Callable[..., Outcome],
) -> None:
    place = ("-c", "c", "--store", tmp_path / "s.t2c")
    made = t2c(
        "index", shards, *place, "--clip", "mini", "--fields", "rating=integer", "--fields", "sold=datetime", "--json"
    )
    assert made.json["indexed"] == COUNT
    assert t2c("count", "rating >= 3", *place, "--json").json["count"] == sum(n % 5 >= 3 for n in range(COUNT))
    assert t2c("count", 'sold < "2024-05-04"', *place, "--json").json["count"] == 3
    assert t2c("index", shards, *place, "--json").json["unchanged"] == COUNT, "types are the collection's own"
    with open_collection("c", str(tmp_path / "s.t2c")) as images:
        assert images.store.spec().indexes["rating"] == "integer"
        assert dict(images.facets("rating"))[4] == 4
    wrong = t2c("index", shards, *place, "--fields", "rating=money")
    assert (wrong.code, "types are keyword, integer" in wrong.err) == (2, True)


def test_the_image_column_of_a_table_can_be_chosen(
    drawn: list[bytes], tmp_path: Path, t2c: Callable[..., Outcome]
) -> None:
    pq.write_table(pa.table({"image": drawn, "thumb": drawn[::-1]}), tmp_path / "a.parquet")
    place = ("-c", "c", "--store", tmp_path / "s.t2c")
    t2c("index", tmp_path / "a.parquet", "--image-column", "thumb", "--clip", "mini", *place)
    found = t2c("search", "--image", f"{tmp_path}/a.parquet::image/0", "-n", 1, *place, "--json").json["hits"]
    assert found[0]["path"] == f"{tmp_path}/a.parquet::thumb/{COUNT - 1}"


def test_hits_in_archives_can_be_seen_searched_by_copied_and_learnt_from(
    shards: str,
    drawn: list[bytes],
    tmp_path: Path,
    t2c: Callable[..., Outcome],
) -> None:
    place = ("-c", "c", "--store", tmp_path / "s.t2c")
    t2c("index", shards, *place, "--clip", "mini")
    member = f"{tmp_path}/shard-001.tar::0011.png"
    found = t2c("search", "--image", member, "-n", 3, "--sheet", tmp_path / "sheet.png", *place, "--json").json
    assert found["hits"][0]["path"] == member
    assert found["hits"][0]["cosine"] == pytest.approx(1, abs=1e-4)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert len(np.unique(sheet[56:296, 16:256].reshape(-1, 3), axis=0)) > 100, "the first tile shows a picture"
    assert (
        t2c("concept", "add", "it", "--yes", member, "--yes", f"{tmp_path}/shard-000.tar::0001.png", *place).code == 0
    )
    with open_collection("c", str(tmp_path / "s.t2c")) as images:
        hits = list(images.search("a red circle", limit=4))
    assert write_folder(hits, "x", tmp_path / "copies", copy=True) == 4
    copies = sorted((tmp_path / "copies").glob("*.png"))
    assert [path.read_bytes() for path in copies] == [read_image(hit.path) for hit in hits]
    with pytest.raises(UsageError, match="--format copies"):
        write_folder(hits, "x", tmp_path / "links", copy=False)


def test_standard_input_and_patterns_work_from_the_command_line(
    folder: Path,
    tmp_path: Path,
    t2c: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = ("-c", "c", "--store", tmp_path / "s.t2c")
    lines = "".join(f"{path}\n" for path in sorted(folder.iterdir())[:5])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert t2c("index", "-", *place, "--clip", "mini", "--json").json["indexed"] == 5
    assert t2c("index", folder / "001*.png", *place, "--json").json["indexed"] == 10
    nothing = t2c("index", tmp_path / "*.gif", *place)
    assert (nothing.code, "nothing matches" in nothing.err) == (2, True)
    (tmp_path / "bad.tar").write_bytes(b"bad")
    damaged = t2c("index", tmp_path / "bad.tar", *place)
    assert damaged.code == 2
    assert "no image in" in damaged.err
    assert "bad.tar' cannot be read: truncated header" in damaged.err


def test_an_existing_clip_retrieval_folder_is_searched_without_embedding_again(folder: Path, tmp_path: Path) -> None:
    """``img_emb_N.npy`` and ``metadata_N.parquet`` with ``image_path`` and ``caption``, as clip-retrieval writes them."""
    made, found = str(tmp_path / "made.t2c"), str(tmp_path / "found.t2c")
    with open_collection("c", made, clip="mini") as images:
        images.index([folder])
        points = next(images.store.scan(vectors=(CLIP,)))
        wanted = [(hit.path, hit.score) for hit in images.search("a red circle", limit=5)]
    (tmp_path / "embeddings" / "img_emb").mkdir(parents=True)
    (tmp_path / "embeddings" / "metadata").mkdir()
    np.save(tmp_path / "embeddings" / "img_emb" / "img_emb_0.npy", points.vectors[CLIP])
    metadata = {"image_path": [p["path"] for p in points.payloads], "caption": [p["name"] for p in points.payloads]}
    pq.write_table(pa.table(metadata), tmp_path / "embeddings" / "metadata" / "metadata_0.parquet")
    with open_collection("c", found, clip=f"precomputed:{tmp_path}/embeddings", text="mini") as images:
        assert images.index([f"{tmp_path}/embeddings/metadata/*.parquet"]).indexed == COUNT
        hits = images.search("a red circle", limit=5)
    assert [hit.path for hit in hits] == [path for path, _ in wanted]
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in wanted], abs=1e-3)
    assert hits[0].payload["captions"] == [hits[0].payload["name"]]
