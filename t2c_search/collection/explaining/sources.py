"""Where the factors of a collection's images and texts come from."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from t2c_search.collection.snapshot import Snapshot
from t2c_search.decoding.decode import DecodedImage, decode
from t2c_search.encoders.protocols import needs_pixels
from t2c_search.errors import ImageError, UsageError
from t2c_search.explain.explainer import Placed, PlacesOf, WordsOf
from t2c_search.explain.view import View, view_of
from t2c_search.explain.words import word_parts
from t2c_search.sources import read_image

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner
    from t2c_search.encoders.protocols import ImageEncoder, PixelEncoder


def places_of(now: Snapshot, method: str = "auto") -> PlacesOf:
    """Return what opens an image and takes the vector apart that the collection's backbone makes of it.

    Raises UsageError for a backbone that sees no pixels, and for a method that is not for it.
    """
    from t2c_search.attribution.methods import place_factors

    encoder, aligner = image_side(now, method)

    @cache
    def view(size: tuple[int, int]) -> View:
        return view_of(encoder, size)

    def places(id: str, path: str) -> Placed:
        image = open_image(path, encoder)
        pixels = encoder.normalise(encoder.prepare(image.pixels).unsqueeze(0))
        factors = place_factors(encoder, aligner, pixels, method)
        return Placed(factors, view(image.pixels.size), (image.width, image.height))

    return places


def words_of(now: Snapshot) -> WordsOf:
    """Return what takes a text's direction apart into its words; nothing for a text tower that takes its own texts only."""
    texts = now.searcher().texts
    return partial(word_parts, texts) if texts.free_text else lambda text: None


def image_side(now: Snapshot, method: str = "auto") -> tuple[PixelEncoder, Aligner | None]:
    """Return the collection's backbone and its aligner, None where it needs none.

    Raises UsageError for a backbone that sees no pixels, and for a method that is not for it, before an image is opened.
    """
    from t2c_search.attribution.methods import choose

    encoder, project = now.models.load_image_side()
    backbone = seeing(encoder)
    choose(backbone, method)
    return backbone, project if now.card.aligned else None  # type: ignore[return-value]


def seeing(encoder: ImageEncoder) -> PixelEncoder:
    """Return an encoder that sees pixels. Raises UsageError for one that looks vectors up."""
    if not needs_pixels(encoder):
        raise UsageError(
            f"{encoder.id!r} holds vectors that were made elsewhere and sees no image, so that nothing tells which place made "
            "them: index the images themselves, with a model, to have them explained"
        )
    return encoder


def open_image(path: str, encoder: PixelEncoder) -> DecodedImage:
    """Return an image as an encoder needs it, upright. Raises ImageError that names it."""
    try:
        return decode(read_image(path), encoder.decode_size)
    except ImageError as exc:
        raise ImageError(f"{path}: {exc}", path=path) from exc
