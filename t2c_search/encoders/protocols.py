"""What an encoder is: small protocols that every adapter fulfils and ``t2c_search.testing`` checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeGuard, cast, runtime_checkable

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from t2c_search.types import Fingerprint


@runtime_checkable
class ImageEncoder(Protocol):
    """Images to vectors, one call of ``encode_images`` at a time: a PixelEncoder or a VectorLookup."""

    id: str
    """The id that loads this encoder again, such as ``timm:resnet50``."""
    image_dim: int

    @property
    def device(self) -> torch.device:
        """Where ``encode_images`` runs and leaves its result."""
        ...

    @property
    def fingerprint(self) -> Fingerprint:
        """Digests of weights and preprocessing: two encoders with the same one give the same vectors."""
        ...

    def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
        """Map n stacked inputs (see ``model_input``) to (n, image_dim) float32 on ``device``, as the model gives them."""
        ...


@runtime_checkable
class PixelEncoder(ImageEncoder, Protocol):
    """An encoder that looks at an image's pixels. ``prepare`` runs in many threads at once."""

    decode_size: int | None
    """Shorter side in pixels below which a decoded image loses nothing the model sees; None: it needs the whole image."""

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Turn one upright RGB image into what ``encode_images`` takes, without the batch axis, on the CPU.

        uint8 (3, h, w) where the model's own preprocessing is geometry followed by a normalisation (which then runs on
        the device), otherwise float32.
        """
        ...


@runtime_checkable
class VectorLookup(ImageEncoder, Protocol):
    """An encoder that finds an image's vector by its path. ``look_up`` runs in many threads at once."""

    def look_up(self, path: str) -> torch.Tensor:
        """Return what ``encode_images`` takes for the image at a path, without the batch axis, on the CPU.

        Raises UnknownVectorError, naming the nearest known paths, where it has none.
        """
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


# Not isinstance with the protocol: Python 3.11 would evaluate the fingerprint property, which reads all weights.
def needs_pixels(encoder: ImageEncoder) -> TypeGuard[PixelEncoder]:
    """Tell whether an encoder looks at an image's pixels; one that does not is a VectorLookup."""
    return hasattr(encoder, "prepare")


def model_input(encoder: ImageEncoder, image: Image.Image, path: str) -> torch.Tensor:
    """Return what ``encode_images`` takes for one image, without the batch axis; ``image`` matters to a PixelEncoder only."""
    return encoder.prepare(image) if needs_pixels(encoder) else cast("VectorLookup", encoder).look_up(path)
