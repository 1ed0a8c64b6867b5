"""Encoder ids, ``KIND:NAME`` or ``KIND:NAME?layers=3``, to encoders. A package adds a kind with an entry point:

    [project.entry-points."t2c_search.encoders"]
    acme = "acme.encoders:load"

where ``load(name, *, device, dtype)`` returns a PixelEncoder, a VectorLookup, a TextEncoder or a DualEncoder whose ``id``
is ``acme:NAME``, and passes the contract in ``t2c_search.testing.encoders``. Where it runs a torch module, a method
``compile()`` lets users have that compiled.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, TypeGuard

from t2c_search.encoders.catalogue import BUILT_IN, EncoderKind
from t2c_search.encoders.loading import suggest
from t2c_search.encoders.options import has_options, read_id
from t2c_search.encoders.protocols import needs_pixels
from t2c_search.errors import EncoderError, UnknownEncoderError, UsageError

if TYPE_CHECKING:
    from t2c_search.encoders.protocols import ImageEncoder, TextEncoder
    from t2c_search.settings import Device, Dtype

    Encoder = ImageEncoder | TextEncoder

ENTRY_POINT_GROUP = "t2c_search.encoders"

_BUILT_IN = {  # kind -> the module here whose load() makes its encoders, imported when first asked for
    "timm": "timm",
    "open_clip": "open_clip",
    "st": "sentence_transformers",
    "torch": "torch_module",
    "precomputed": "precomputed",
    "mini": "bundled",
}


def kinds() -> tuple[str, ...]:
    """Return the names of all encoder kinds: the built-in ones, then those of installed packages."""
    return (*_BUILT_IN, *(name for name in _plugins() if name not in _BUILT_IN))


def load(encoder_id: str, *, device: Device = "auto", dtype: Dtype = "auto", compile: bool = False) -> Encoder:
    """Load the encoder that an id names onto a device; ``compile`` has its image side compiled, if it runs a torch module.

    Raises UnknownEncoderError when the id names nothing, EncoderError when the model cannot be loaded.
    """
    asked = read_id(encoder_id)
    options = {"options": asked.options} if has_options(asked.kind) else {}
    encoder = _factory(asked.kind, encoder_id)(asked.name, **options, device=device, dtype=dtype)
    if fault := _fault(encoder):
        raise EncoderError(f"encoder kind {asked.kind!r} made a {type(encoder).__name__}, which {fault}")
    if compile and hasattr(encoder, "compile"):
        encoder.compile()
    return encoder


def load_image_encoder(
    encoder_id: str, *, device: Device = "auto", dtype: Dtype = "auto", compile: bool = False
) -> ImageEncoder:
    """Load an encoder of images. Raises UsageError when the id names one of texts only, else as ``load``."""
    return as_image_encoder(load(encoder_id, device=device, dtype=dtype, compile=compile))


def load_text_encoder(encoder_id: str, *, device: Device = "auto", dtype: Dtype = "auto") -> TextEncoder:
    """Load an encoder of texts. Raises UsageError when the id names one of images only, else as ``load``."""
    return as_text_encoder(load(encoder_id, device=device, dtype=dtype))


def load_clip(
    encoder_id: str, *, device: Device = "auto", dtype: Dtype = "auto", compile: bool = False
) -> ImageEncoder:
    """Load a CLIP model. Raises UsageError when the id names something that cannot be one, else as ``load``."""
    return as_clip(load(encoder_id, device=device, dtype=dtype, compile=compile))


def as_image_encoder(encoder: Encoder) -> ImageEncoder:
    """Return an encoder that sees images. Raises UsageError when it reads texts only."""
    if not _sees_images(encoder):
        raise UsageError(f"{encoder.id!r} reads texts only: it can be a text tower, not a backbone or CLIP model")
    return encoder


def as_text_encoder(encoder: Encoder) -> TextEncoder:
    """Return an encoder that reads texts. Raises UsageError when it sees images only."""
    if not _reads_texts(encoder):
        raise UsageError(f"{encoder.id!r} sees images only: it can be a backbone, not a text tower")
    return encoder


def as_clip(encoder: Encoder) -> ImageEncoder:
    """Return a CLIP model: a DualEncoder, or image vectors precomputed by one, which an aligner can be fitted to.

    Raises UsageError when it has only one tower by nature.
    """
    images = as_image_encoder(encoder)
    if not _reads_texts(images) and needs_pixels(images):
        raise UsageError(
            f"{encoder.id!r} has no text tower, so it cannot be the CLIP model; use it as the backbone, "
            "with a CLIP model such as open_clip:ViT-B-32/laion2b_s34b_b79k"
        )
    return images


def require_text(encoder: ImageEncoder) -> TextEncoder:
    """Return the text side of a CLIP model. Raises UsageError, saying how to get one, when it has none."""
    if not _reads_texts(encoder):
        raise UsageError(
            f"CLIP model {encoder.id!r} has no text side: bring a text tower of the same space, "
            "or put concept_embeddings.npy and concept_names.txt into its folder"
        )
    return encoder


def describe() -> tuple[EncoderKind, ...]:
    """Return every kind, the built-in ones with good choices; imports no model library."""
    return (*BUILT_IN, *(_describe_plugin(point) for name, point in _plugins().items() if name not in _BUILT_IN))


def _describe_plugin(point: EntryPoint) -> EncoderKind:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "an installed package"
    return EncoderKind(point.name, f"{point.name}:NAME", f"from {package}")


def _factory(kind: str, encoder_id: str) -> Callable[..., Encoder]:
    if kind in _BUILT_IN:
        return import_module(f"t2c_search.encoders.adapters.{_BUILT_IN[kind]}").load  # type: ignore[no-any-return]
    plugin = _plugins().get(kind)
    if plugin is None:
        known = kinds()
        hint = suggest(kind, known) if ":" in encoder_id else "; an id is KIND:NAME, such as timm:resnet50"
        raise UnknownEncoderError(f"no encoder kind {kind!r} in {encoder_id!r}; known kinds: {', '.join(known)}{hint}")
    try:
        return plugin.load()  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as exc:
        raise EncoderError(f"encoder kind {kind!r} is registered as {plugin.value!r}, which fails: {exc}") from exc


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _fault(encoder: object) -> str:
    """Say what keeps an object from being an encoder; nothing where it is one."""
    if not _sees_images(encoder) and not _reads_texts(encoder):
        return "is no encoder"
    if not hasattr(encoder, "__dict__"):
        return "has __slots__ only: a pool that shares an encoder gives it a lock, so it must take further attributes"
    if not _sees_images(encoder):
        return ""
    if not needs_pixels(encoder):
        return (
            "" if hasattr(encoder, "look_up") else "has neither prepare(image) nor look_up(path), one of which it needs"
        )
    try:
        inspect.signature(encoder.prepare).bind("image")
    except TypeError:
        return "has a prepare that does not take an image alone: write prepare(image), or look_up(path) for a lookup by path"
    return (
        "" if hasattr(encoder, "decode_size") else "lacks decode_size: a number of pixels, or None for the whole image"
    )


# Not isinstance with the protocols: Python 3.11 would evaluate the fingerprint property, which reads all weights.
def _sees_images(encoder: object) -> TypeGuard[ImageEncoder]:
    return hasattr(encoder, "encode_images")


def _reads_texts(encoder: object) -> TypeGuard[TextEncoder]:
    return hasattr(encoder, "encode_texts")
