"""Digests that say what a model is by content, whatever it is called and wherever it lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from t2c_search.types import EncoderRef

if TYPE_CHECKING:
    import torch

    from t2c_search.encoders.protocols import ImageEncoder

PROBE_SENTENCE = "A photo of 2 dogs, one café & the sea."
"""Its tokens tell tokenizers apart: capitals, a digit, an accent and punctuation."""


def encoder_ref(encoder: ImageEncoder) -> EncoderRef:
    """Name an encoder by id, dimension and fingerprint."""
    return EncoderRef(encoder.id, encoder.image_dim, encoder.fingerprint)


def digest_weights(state: Mapping[str, torch.Tensor]) -> str:
    """Return the hex digest of named tensors: names, types, shapes and bytes, in the order of names."""
    import torch

    digest = blake3(max_threads=blake3.AUTO)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def digest_json(description: Any) -> str:
    """Return the hex digest of anything that JSON can say."""
    return blake3(json.dumps(description, sort_keys=True).encode()).hexdigest()
