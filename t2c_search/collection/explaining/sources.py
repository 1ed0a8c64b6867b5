"""Where the factors of a collection's images and texts come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from t2c_search.collection.snapshot import Snapshot
from t2c_search.decoding.decode import DecodedImage, decode
from t2c_search.encoders.protocols import needs_pixels
from t2c_search.errors import ImageError, UsageError
from t2c_search.explain.explainer import Placed, PlacesOf, WordsOf
from t2c_search.explain.view import view_of
from t2c_search.sources import read_image

if TYPE_CHECKING:
    import torch

    from t2c_search.encoders.capabilities import Differentiable
    from t2c_search.encoders.protocols import ImageEncoder


def places_of(now: Snapshot, method: str = "auto") -> PlacesOf:
    """Return what opens an image and takes the vector apart that the collection's backbone makes of it.

    Raises UsageError for a backbone that sees no pixels, and for a method that is not for it.
    """
    from t2c_search.attribution.methods import place_factors

    encoder, project = now.models.load_image_side()
    see, aligner = opener(encoder, method), project if now.card.aligned else None

    def places(id: str, path: str) -> Placed:
        pixels, decoded = see(path)
        factors = place_factors(encoder, aligner, pixels, method)
        return Placed(factors, view_of(encoder, decoded.pixels.size), (decoded.width, decoded.height))

    return places


def opener(encoder: ImageEncoder, method: str = "auto") -> Callable[[str], tuple[torch.Tensor, DecodedImage]]:
    """Return what opens an image by its path, for the pixels (1, 3, h, w) that an encoder's module sees.

    Raises UsageError for an encoder that sees no pixels, or whose vectors no ``method`` takes apart; what it returns raises
    ImageError, naming the image.
    """
    from t2c_search.attribution.methods import choose

    if not needs_pixels(encoder):
        raise UsageError(
            f"{encoder.id!r} holds vectors that were made elsewhere and sees no image, so that nothing tells which place made "
            "them: index the images themselves, with a model, to have them explained"
        )
    choose(encoder, method)  # a mistake is told before images are opened
    module = cast("Differentiable", encoder)

    def see(path: str) -> tuple[torch.Tensor, DecodedImage]:
        try:
            decoded = decode(read_image(path), encoder.decode_size)
        except ImageError as exc:
            raise ImageError(f"{path}: {exc}", path=path) from exc
        return module.normalise(encoder.prepare(decoded.pixels).unsqueeze(0)), decoded

    return see


def words_of(now: Snapshot) -> WordsOf:
    """Return what takes a text's direction apart into its words."""
    return lambda text: None
