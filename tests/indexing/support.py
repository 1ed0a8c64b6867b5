"""Pictures and a small real encoder for the tests of indexing; also imported by processes that get killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2c_search.decoding.metadata import PAYLOAD_INDEXES
from t2c_search.indexing import embedding, reuse
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedder import LocalEmbedder
from t2c_search.indexing.pipeline import Run, index_images
from t2c_search.indexing.report import IndexReport
from t2c_search.progress import Monitor, NoProgress, Progress
from t2c_search.sources import ImageInput, read_image
from t2c_search.state.statistics import CLAIMS
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.protocol import CollectionSpec, FieldType, VectorStore
from t2c_search.types import CLIP, NATIVE, Fingerprint, Payload

DIM = 12
SIDE = 16
COUNT = 6
"""Pictures of the ``photos`` fixture."""


class TinyEncoder:
    """Pools the picture to 16 x 16 and projects it on fixed random directions: deterministic, and sees detail."""

    id = "torch:tiny"
    image_dim = DIM
    decode_size: int | None = SIDE
    device = torch.device("cpu")
    fingerprint = Fingerprint("tiny", "box-16")

    def __init__(self, seed: int = 0) -> None:
        self._weights = torch.randn(3 * SIDE * SIDE, DIM, generator=torch.Generator().manual_seed(seed))

    def prepare(self, image: Image.Image) -> torch.Tensor:
        assert image.mode == "RGB"
        pixels = np.array(image.resize((SIDE, SIDE), Image.Resampling.BOX))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()

    def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
        assert batch.dtype == torch.uint8
        return batch.flatten(1).float().div(255).sub(0.5) @ self._weights


def no_encoder() -> TinyEncoder:
    raise AssertionError("a model was loaded although nothing had to be embedded")


def picture(seed: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Draw a smooth coloured picture without any symmetry, the same for the same seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save_pictures(folder: Path, count: int, *, first: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:04d}.jpg" for index in range(first, first + count)]
    for index, path in enumerate(paths, first):
        picture(index).save(path, quality=90)
    return paths


def note_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list that the path of every image is appended to when it has been read."""
    noted: list[str] = []

    def noting(path: str) -> bytes:
        content = read_image(path)
        noted.append(path)
        return content

    for module in (embedding, reuse):
        monkeypatch.setattr(module, "read_image", noting)
    return noted


def create(
    store: VectorStore, *, native: bool = False, indexes: Mapping[str, FieldType] = PAYLOAD_INDEXES
) -> VectorStore:
    store.create(CollectionSpec.of({CLIP: DIM} | ({NATIVE: DIM} if native else {}), indexes))
    return store


def index(
    inputs: Sequence[ImageInput],
    store: VectorStore,
    *,
    encoder: Callable[[], TinyEncoder] = TinyEncoder,
    batch_size: int = 8,
    sync: Sequence[Path] = (),
    progress: Progress | None = None,
) -> IndexReport:
    run = Run(store, lambda: (encoder(), torch.nn.functional.normalize), Monitor(progress or NoProgress()))
    embedder = LocalEmbedder(Batching(batch_size, 2))
    return index_images(inputs, run, embedder, sync=[path.as_posix() for path in sync])


def contents(store: VectorStore) -> dict[str, tuple[Payload, np.ndarray]]:
    """Everything in the collection: path -> payload and CLIP vector."""
    return {
        payload["path"]: (payload, vector)
        for points in store.scan(vectors=(CLIP,))
        for payload, vector in zip(points.payloads, points.vectors[CLIP], strict=True)
    }


def assert_statistics_are_true(store: VectorStore) -> None:
    """Check the stored statistics against all the vectors."""
    header, blobs = store.read_blobs(["statistics", "statistics-state"])
    assert CLAIMS.among(blobs).vouch_for(header.blobs["statistics"].digest)
    stored = VectorStatistics.from_bytes(blobs["statistics"])
    vectors = np.array([vector for _, vector in contents(store).values()], np.float64)
    assert stored.count == len(vectors)
    np.testing.assert_allclose(stored.mean, vectors.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(stored.covariance, np.cov(vectors.T, bias=True), atol=1e-9)
    assert {row.tobytes() for row in stored.sample} <= {row.tobytes() for row in vectors.astype(np.float32)}


def assert_same(one: VectorStore, other: VectorStore) -> None:
    """Check that two collections hold the same ids, payloads and vectors (1e-5)."""
    left, right = contents(one), contents(other)
    assert left.keys() == right.keys()
    for path, (payload, vector) in left.items():
        assert payload == right[path][0]
        np.testing.assert_allclose(vector, right[path][1], atol=1e-5)
