"""Collections that searchers and the oracle both hold: of clusters, of drawn scenes, or of real photographs."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from t2c_search.demo.world import draw
from t2c_search.encoders import registry
from t2c_search.encoders.protocols import DualEncoder
from t2c_search.query.execution.searcher import Known, Searcher
from t2c_search.query.planning.calibration import PLANNING_ROWS
from t2c_search.query.planning.texts import Texts
from t2c_search.results import StatisticsUsed
from t2c_search.state.concepts import SavedConcept
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.types import CLIP, Points

from .oracle import Oracle

WORDS = ("dog", "cat", "snow", "beach", "red car", "crowd", "night sky", "water", "ball", "tree")
INDEXES = {"width": "integer", "camera": "keyword", "tags": "keyword", "score": "float"}


@dataclass
class World:
    """One collection, in the stores of searchers and in the oracle's arrays."""

    searchers: dict[str, Searcher]
    oracle: Oracle
    asked: int = 0

    @property
    def searcher(self) -> Searcher:
        """The first store's."""
        return next(iter(self.searchers.values()))


class ClusteredWords:
    """Words whose meanings are cluster centres; a text means the mean of the words in it, and a little of its own."""

    def __init__(self, dim: int) -> None:
        rng = np.random.default_rng(5)
        self.dim = dim
        self.centres = unit(rng.normal(size=(len(WORDS), dim)))
        self.gap = unit(rng.normal(size=dim))  # texts and images lie apart

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([self.embed(text) for text in texts], np.float32)

    def embed(self, text: str) -> NDArray[np.float64]:
        meant = [centre for word, centre in zip(WORDS, self.centres, strict=True) if word in text]
        own = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])).normal(size=self.dim)
        return unit(np.sum(meant, axis=0) + self.gap + 0.3 * unit(own))

    def images(self, count: int) -> NDArray[np.float32]:
        rng = np.random.default_rng(6)
        shown = rng.random((count, len(WORDS))) < np.linspace(0.03, 0.3, len(WORDS))
        rows = shown @ self.centres + 0.6 * unit(rng.normal(size=(count, self.dim))) - self.gap
        rows[-count // 50 :] = rows[: count // 50]  # real collections hold the same photo twice
        return unit(rows).astype(np.float32)


def clustered(store: VectorStore, count: int, dim: int = 32) -> World:
    words = ClusteredWords(dim)
    rows = words.images(count)
    saved = {"taught": SavedConcept("taught", words.centres[0], 0.8), "named": SavedConcept("named", words.centres[3])}
    return _world({"embedded": store}, rows, words, saved, free_text=True)


def drawn_scenes(stores: Mapping[str, VectorStore], count: int) -> World:
    """Scenes of the drawn world, some of them twice, as the CLIP model inside the package sees them."""
    return _seen(stores, "mini", [Image.fromarray(scene.image) for scene in draw(7, count)])


def read_photos(stores: Mapping[str, VectorStore], real_data: Path, count: int) -> World:
    """Flickr8k photographs, some of them twice, as a small CLIP model sees them that reads any text."""
    files = sorted((real_data / "photos" / "images").iterdir())[:count]
    return _seen(stores, f"open_clip:local-dir:{real_data}/open_clip/flickr-mini", [Image.open(file) for file in files])


def real_photos(stores: Mapping[str, VectorStore], real_data: Path) -> World:
    """OpenAI CLIP ViT-B/32 vectors of Flickr8k photographs, and of LVIS names as the only texts there are."""
    folder = real_data / "clip_vit_b32"
    rows = unit(np.load(folder / "image_embeddings.npy").astype(np.float64)).astype(np.float32)
    names = (folder / "concept_names.txt").read_text().splitlines()
    concepts = unit(np.load(folder / "concept_embeddings.npy").astype(np.float64)).astype(np.float32)

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([concepts[names.index(text)] for text in texts])

    return _world(stores, rows, embed, {}, free_text=False)


def _seen(stores: Mapping[str, VectorStore], model_id: str, images: Sequence[Image.Image]) -> World:
    model = registry.load(model_id, device="cpu")
    assert isinstance(model, DualEncoder)
    prepared = torch.stack([model.prepare(image.convert("RGB")) for image in images])
    rows = unit(model.encode_images(prepared).numpy())
    again = len(rows) // 50
    rows[-again:] = rows[:again]
    embed = lru_cache(None)(lambda text: model.encode_texts([text])[0].numpy())
    saved = {
        "taught": SavedConcept("taught", rows[3].astype(np.float64), 0.8),
        "named": SavedConcept("named", rows[5].astype(np.float64)),
    }
    return _world(stores, rows, lambda texts: np.array([embed(text) for text in texts]), saved, free_text=True)


def point_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"image {number}"))


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _world(stores, rows, embed, saved, *, free_text) -> World:
    ids = [point_id(number) for number in range(len(rows))]
    payloads = [_payload(number) for number in range(len(rows))]
    statistics = VectorStatistics(rows.shape[1], 1024)
    statistics.add(ids, rows)
    for store in stores.values():
        store.create(CollectionSpec.of({CLIP: rows.shape[1]}, INDEXES))
        for start in range(0, len(ids), 1000):
            part = slice(start, start + 1000)
            store.upsert(Points(ids[part], payloads[part], {CLIP: rows[part]}))

    def image(path: str) -> NDArray[np.float32]:
        return rows[len(path)]

    known = Known(statistics, StatisticsUsed(len(ids), "first", True), saved, INDEXES)
    searchers = {name: Searcher(store, known, Texts(embed, free_text), image) for name, store in stores.items()}
    plain = {name: (concept.direction, concept.threshold) for name, concept in saved.items()}
    sample = statistics.sample
    oracle = Oracle(ids, payloads, rows, sample, PLANNING_ROWS, embed, image, plain, free_text)
    return World(searchers, oracle)


def _payload(number: int) -> dict[str, object]:
    rng = np.random.default_rng(number)
    payload: dict[str, object] = {"path": f"{number}.jpg", "width": int(rng.integers(100, 200))}
    if rng.random() < 0.8:
        payload["camera"] = str(rng.choice(["X100", "A7", "phone"]))
    if rng.random() < 0.6:
        payload["tags"] = sorted({str(tag) for tag in rng.choice(["old", "new", "blue"], 2)})
    if rng.random() < 0.5:
        payload["score"] = float(rng.random())
    return payload
