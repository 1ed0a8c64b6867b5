"""What an encoder is: small protocols that every adapter fulfils and ``t2c_search.testing`` checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from t2c_search.types import Fingerprint

if TYPE_CHECKING:
    import torch
    from PIL import Image


@runtime_checkable
class ImageEncoder(Protocol):
    """Pixels to vectors. ``prepare`` runs in many threads at once; ``encode_images`` in one at a time."""

    id: str
    """The id that loads this encoder again, such as ``timm:resnet50``."""
    image_dim: int
    decode_size: int | None
    """Shorter side in pixels below which a decoded image loses nothing the model sees; None: decode in full;
    0: the encoder does not look at pixels."""

    @property
    def device(self) -> torch.device:
        """Where ``encode_images`` runs and leaves its result."""
        ...

    @property
    def fingerprint(self) -> Fingerprint:
        """Digests of weights and preprocessing: two encoders with the same one give the same vectors."""
        ...

    def prepare(self, image: Image.Image, name: str) -> torch.Tensor:
        """Turn one upright RGB image into the model's input without the batch axis, on the CPU.

        uint8 (3, h, w) where the model's own preprocessing is geometry followed by a normalisation (which then runs on
        the device), otherwise float32. ``name`` is the image's path; only encoders of precomputed vectors use it.
        """
        ...

    def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
        """Map n stacked ``prepare`` results to (n, image_dim) float32 on ``device``, as the model gives them."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Words to vectors, one call at a time: tokenizers of transformers are not safe to share between threads."""

    id: str
    text_dim: int
    vocabulary: tuple[str, ...] | None
    """The only texts it knows (precomputed concepts), or None when it takes any text."""

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Map n texts to unit rows (n, text_dim) float32 on the encoder's device.

        Raises UnknownVectorError, naming the nearest known texts, when the vocabulary is closed and lacks one.
        """
        ...


@runtime_checkable
class DualEncoder(ImageEncoder, TextEncoder, Protocol):
    """A CLIP model: both towers, one space (image_dim == text_dim)."""
