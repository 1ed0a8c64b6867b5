"""Where the factors of a collection's images and texts come from."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Protocol, cast

from t2c_search.collection.snapshot import Snapshot
from t2c_search.decoding.decode import DecodedImage, decode
from t2c_search.encoders.capabilities import Differentiable
from t2c_search.encoders.protocols import PixelEncoder, needs_pixels
from t2c_search.errors import ImageError, UsageError
from t2c_search.explain.explainer import Placed, PlacesOf, WordsOf
from t2c_search.explain.view import view_of
from t2c_search.explain.words import word_parts
from t2c_search.sources import read_image
from t2c_search.types import CLIP

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner
    from t2c_search.encoders.protocols import ImageEncoder


class Seeing(PixelEncoder, Differentiable, Protocol):
    """An encoder of pixels whose vectors can be taken apart."""


def places_of(now: Snapshot, method: str = "auto") -> PlacesOf:
    """Return what tells an image's factors: those that the collection keeps, or else the image is opened for them.

    Kept ones are of one method, and others are asked for by its name. Raises UsageError for a backbone that sees no pixels, and
    for a method that is not for it.
    """
    encoder, aligner = image_side(now, method)
    opened, view = _opened(encoder, aligner, method), cache(partial(view_of, encoder))
    reader = now.searcher().known.factors
    if reader is None or method not in ("auto", reader.method):
        return opened

    def places(id: str, path: str) -> Placed:
        names = tuple(dict.fromkeys((CLIP, *reader.vectors)))
        image = now.store.fetch([id], vectors=names)
        found = reader.read(image)
        if not found:  # it was indexed before factors were kept
            return opened(id, path)
        width, height = (int(image.payloads[0].get(side, 1)) for side in ("width", "height"))
        scale = 1.0 if encoder.decode_size is None else min(1.0, 2 * encoder.decode_size / min(width, height))
        size = max(1, round(scale * width)), max(1, round(scale * height))
        factors = found[0][1].factors(image.vectors[CLIP], reader.method)
        return Placed(factors, view(size), (width, height))

    return places


def _opened(encoder: Seeing, aligner: Aligner | None, method: str) -> PlacesOf:
    """Return what opens an image and takes the vector apart that an encoder makes of it."""
    from t2c_search.attribution.methods import place_factors

    view = cache(partial(view_of, encoder))

    def places(id: str, path: str) -> Placed:
        image = open_image(path, encoder)
        pixels = encoder.normalise(encoder.prepare(image.pixels).unsqueeze(0))
        factors = place_factors(encoder, aligner, pixels, method)
        return Placed(factors, view(image.pixels.size), (image.width, image.height))

    return places


def words_of(now: Snapshot) -> WordsOf:
    """Return what takes a text's direction apart into its words; nothing for a text tower that takes its own texts only."""
    texts = now.searcher().texts
    return cache(partial(word_parts, texts)) if texts.free_text else lambda text: None


def image_side(now: Snapshot, method: str = "auto") -> tuple[Seeing, Aligner | None]:
    """Return the collection's backbone and its aligner, None where it needs none.

    Raises UsageError for a backbone that sees no pixels, and for a method that is not for it, before an image is opened.
    """
    encoder, project = now.models.load_image_side()
    return seeing(encoder, method), cast("Aligner", project) if now.card.aligned else None


def seeing(encoder: ImageEncoder, method: str = "auto") -> Seeing:
    """Return an encoder of pixels whose vectors a method takes apart. Raises UsageError for any other."""
    from t2c_search.attribution.methods import choose

    if not needs_pixels(encoder):
        raise UsageError(
            f"{encoder.id!r} holds vectors that were made elsewhere and sees no image, so that nothing tells which place made "
            "them: index the images themselves, with a model, to have them explained"
        )
    choose(encoder, method)
    return cast("Seeing", encoder)


def open_image(path: str, encoder: PixelEncoder) -> DecodedImage:
    """Return an image as an encoder needs it, upright. Raises ImageError that names it."""
    try:
        return decode(read_image(path), encoder.decode_size)
    except ImageError as exc:
        raise ImageError(f"{path}: {exc}", path=path) from exc
