"""Embeddings whose images are not here are indexed from their rows alone, by the encoder that looks them up."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from t2c_search.collection import open_collection
from t2c_search.encoders import registry
from t2c_search.indexing.embedder import LocalEmbedder
from t2c_search.indexing.pipeline import Run, index_images
from t2c_search.indexing.report import IndexReport
from t2c_search.sources import ImageList, list_images, require_images
from t2c_search.stores.protocol import VectorStore
from tests.indexing.support import DIM, assert_statistics_are_true, contents, index, no_encoder, save_pictures

NAMES = ["/elsewhere/photos/cat.jpg", "/elsewhere/photos/dog.jpg", "000000017", "set/bird.png", "https://x.org/a.jpg"]
ROWS = np.random.default_rng(20261125).standard_normal((len(NAMES), DIM)).astype(np.float32)


def save_nested(folder: Path, *, words: str = "a photo") -> list[Path]:
    return _save_parts(folder / "img_emb", folder / "metadata", words)


def save_flat(folder: Path, *, words: str = "a photo") -> list[Path]:
    return _save_parts(folder, folder, words)


def _save_parts(images: Path, metadata: Path, words: str) -> list[Path]:
    """Two parts, as clip-retrieval's inference writes them, of paths and of webdataset's keys."""
    parts = []
    for part, (start, stop) in enumerate(((0, 2), (2, len(NAMES)))):
        for folder in (images, metadata):
            folder.mkdir(parents=True, exist_ok=True)
        parts.append(images / f"img_emb_{part}.npy")
        np.save(parts[-1], ROWS[start:stop].astype(np.float16))
        captions = [f"{words} {number}" for number in range(start, stop)]
        columns = {"image_path": NAMES[start:stop], "caption": captions, "NSFW": ["UNLIKELY"] * (stop - start)}
        pq.write_table(pa.table(columns), metadata / f"metadata_{part}.parquet")
    return parts


def embed(folder: Path, images: ImageList, store: VectorStore) -> IndexReport:
    def load() -> tuple[Any, Any]:
        return registry.load_image_encoder(f"precomputed:{folder}"), torch.nn.functional.normalize

    return index_images(images, Run(store, load), LocalEmbedder())


both_layouts = pytest.mark.parametrize("save", [save_nested, save_flat])


@both_layouts
def test_a_folder_of_embeddings_is_indexed_without_its_images(
    save: Callable[[Path], list[Path]], tmp_path: Path, store: VectorStore
) -> None:
    parts = save(tmp_path / "laion")
    images = list_images([tmp_path / "laion"])
    assert [item.path for item in images] == [f"{parts[number > 1]}::{name}" for number, name in enumerate(NAMES)]
    assert images.warnings == ()
    report = embed(tmp_path / "laion", images, store)
    assert (report.indexed, report.failures) == (len(NAMES), ())
    assert_statistics_are_true(store)
    found = contents(store)
    for number, item in enumerate(images):
        payload, vector = found[item.path]
        expected = ROWS[number].astype(np.float16).astype(np.float32)
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)
        assert payload["captions"] == [f"a photo {number}"]
        assert payload["nsfw"] == "UNLIKELY"
        assert payload["name"] == Path(NAMES[number]).name
        assert not payload.keys() & {"width", "height", "hash", "bytes", "format"}


@both_layouts
def test_indexing_again_does_nothing_and_new_captions_embed_nothing(
    save: Callable[..., list[Path]], tmp_path: Path, store: VectorStore
) -> None:
    folder = tmp_path / "laion"
    times = [(path, path.stat()) for path in save(folder)]
    embed(folder, list_images([folder]), store)
    assert index(list_images([folder]), store, encoder=no_encoder).unchanged == len(NAMES)
    save(folder, words="another photo")
    for path, was in times:
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert index(list_images([folder]), store, encoder=no_encoder).updated == len(NAMES)
    os.utime(times[0][0], ns=(0, 1))
    report = embed(folder, list_images([folder]), store)
    assert (report.indexed, report.unchanged) == (2, len(NAMES) - 2)


def test_another_encoder_says_that_only_embeddings_are_here(tmp_path: Path, store: VectorStore) -> None:
    save_nested(tmp_path)
    report = index(list_images([tmp_path]), store)
    assert report.indexed == 0
    assert {failure.reason for failure in report.failures} == {
        "its image is not here, only its embedding: index the folder with the encoder precomputed:FOLDER"
    }
    failed = [failure.path for failure in report.failures]
    assert embed(tmp_path, list_images(failed), store).indexed == len(NAMES)  # as a retry does


def test_one_file_of_vectors_and_names_a_line(tmp_path: Path, store: VectorStore) -> None:
    np.save(tmp_path / "image_embeddings.npy", ROWS)
    (tmp_path / "image_names.txt").write_text("\n".join(NAMES) + "\n")
    images = list_images([tmp_path / "image_embeddings.npy"])
    assert [item.path for item in images] == [f"{tmp_path}/image_embeddings.npy::{name}" for name in NAMES]
    assert [item.path for item in list_images([tmp_path])] == [item.path for item in images]
    assert embed(tmp_path, images, store).indexed == len(NAMES)


def test_images_in_the_folder_count_before_the_embeddings_beside_them(tmp_path: Path) -> None:
    save_nested(tmp_path)
    photos = save_pictures(tmp_path / "photos", 2)
    assert [item.path for item in list_images([tmp_path])] == list(map(str, photos))


def test_vectors_without_names_are_a_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "depth.npy", ROWS)
    save_nested(tmp_path / "laion")
    (tmp_path / "laion" / "metadata" / "metadata_0.parquet").unlink()
    images = list_images([tmp_path / "depth.npy", tmp_path / "laion"])
    assert not images
    assert "depth.npy' has no names for its rows: expected img_emb_N.npy and metadata_N.parquet" in images.warnings[0]
    assert "img_emb_0.npy' has no names" in images.warnings[1]
    assert list_images([tmp_path / "depth.npy", *save_pictures(tmp_path / "photos", 1)])[0].path.endswith("0000.jpg")


def test_rows_without_a_name_are_passed_over(tmp_path: Path) -> None:
    np.save(tmp_path / "img_emb_0.npy", ROWS[:3])
    columns = {"image_path": ["a.jpg", None, "b.jpg"], "width": [1, 2, 3]}
    pq.write_table(pa.table(columns), tmp_path / "metadata_0.parquet")
    images = require_images([tmp_path])
    assert [item.path.partition("::")[2] for item in images] == ["a.jpg", "b.jpg"]
    assert any("row without image_path passed over" in warning for warning in images.warnings)


def test_a_collection_of_embeddings_is_opened_synced_and_searched(tmp_path: Path) -> None:
    folder = tmp_path / "laion"
    save_nested(folder)
    (folder / "concept_names.txt").write_text("dog\ncat\n")
    np.save(folder / "concept_embeddings.npy", ROWS[[1, 0]])
    with open_collection("c", ":memory:", clip=f"precomputed:{folder}") as rows:
        assert rows.index([folder]).indexed == len(NAMES)
        again = rows.index([folder], sync=True)
        assert (again.unchanged, again.deleted) == (len(NAMES), 0)
        assert [hit.path.rpartition("/")[2] for hit in rows.search("dog", limit=1)] == ["dog.jpg"]
