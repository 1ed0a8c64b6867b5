"""A small language whose texts have vectors: the mean of its words' own, a share of which is common to all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch

from t2c_search.concepts.describe.training import Captions, DecoderRecipe
from t2c_search.types import FloatArray

DIM = 32
COLOURS, THINGS, PLACES = ["red", "green", "blue", "white"], ["cat", "dog", "bird", "fish"], ["snow", "grass", "sand"]
TEXTS = [f"a {colour} {thing} on {place}" for colour, thing, place in product(COLOURS, THINGS, PLACES)]
TINY = DecoderRecipe(width=32, layers=1, dropout=0.0, memory=40, steps=150, batch=32, rate=5e-3)

_rng = np.random.default_rng(5)
_WORDS = {word: _rng.normal(size=DIM) for word in ["a", "on", *COLOURS, *THINGS, *PLACES]}
_COMMON = _rng.normal(size=DIM)


def embed(texts: Sequence[str]) -> FloatArray:
    """Unit rows (n, DIM) float32; an unknown word means nothing."""
    rows = np.array([_COMMON + sum(_WORDS.get(word, np.zeros(DIM)) for word in text.split()) for text in texts])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def captions(texts: Sequence[str] = TEXTS) -> Captions:
    return Captions.of(texts, lambda each: torch.from_numpy(embed(each)))
