"""The points that the store contract is tested with."""

from __future__ import annotations

import uuid

import numpy as np

from t2c_search.stores.protocol import CollectionSpec
from t2c_search.types import CLIP, NATIVE, FloatArray, Points

COUNT, CLIP_DIM, NATIVE_DIM = 300, 16, 5
SPEC = CollectionSpec.of(
    dims={CLIP: CLIP_DIM, NATIVE: NATIVE_DIM},
    indexes={
        "camera": "keyword",
        "width": "integer",
        "flash": "bool",
        "aperture": "float",
        "taken": "datetime",
        "caption": "text",
        "gps": "geo",
    },
)
CAMERAS = ("X100", "A7", "Zorki-4")


def make_id(number: int) -> str:
    """Return a deterministic UUID."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def make_points(count: int = COUNT, seed: int = 0) -> Points:
    """Return points with unit ``clip`` rows, raw ``native`` rows and typed payloads, the same for the same seed."""
    rng = np.random.default_rng(seed)
    clip = rng.normal(size=(count, CLIP_DIM))
    payloads = [
        {
            "path": f"folder/{number}.jpg",
            "camera": CAMERAS[number % 3],
            "width": 100 + number % 7,
            "flash": number % 2 == 0,
            "aperture": 1.4 * (1 + number % 5),
            "taken": f"2023-01-{1 + number % 28:02d}T12:00:00+00:00",
            "caption": f"A dog, running: number {number}",
            "gps": {"lat": 45 + number / 100, "lon": 7.5},
            "tags": ["a", "b"][: number % 3],
        }
        for number in range(count)
    ]
    return Points(
        ids=[make_id(number) for number in range(count)],
        payloads=payloads,
        vectors={
            CLIP: (clip / np.linalg.norm(clip, axis=1, keepdims=True)).astype(np.float32),
            NATIVE: (10 * rng.normal(size=(count, NATIVE_DIM))).astype(np.float32),
        },
    )


def unit(*values: float) -> FloatArray:
    """Return a unit query vector that begins with the values given, (CLIP_DIM,) float32."""
    vector = np.zeros(CLIP_DIM)
    vector[: len(values)] = values
    return (vector / np.linalg.norm(vector)).astype(np.float32)
