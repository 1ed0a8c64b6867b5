"""An encoder that tells, in the pass in which it embeds, which places made each vector."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

from PIL import Image

from t2c_search.attribution.banzhaf import Masks
from t2c_search.attribution.factors import warn_of_residual
from t2c_search.attribution.methods import choose, completes, made_by
from t2c_search.attribution.projection import UNPROJECTED
from t2c_search.errors import T2CWarning

if TYPE_CHECKING:
    import torch

    from t2c_search.attribution.factors import PlaceFactors
    from t2c_search.encoders.protocols import ImageEncoder


def method_for_all(encoder: ImageEncoder) -> str:
    """Return the method for all images of a collection. Warns where it takes masked images, many for each.

    Raises UsageError for an encoder whose vectors cannot be taken apart.
    """
    method = choose(encoder)
    if method == "banzhaf":
        warnings.warn(
            f"{encoder.id!r} shows nothing of its inside, so that each image goes through it under {Masks().number} masks: "
            "indexing with factors takes as many times as long",
            T2CWarning,
            stacklevel=2,
        )
    return method


class Explained:
    """An image encoder, all of whose attributes this has, and the ``method`` by which its vectors are taken apart.

    Raises UsageError for a method that is not for the encoder, and for an encoder whose vectors cannot be taken apart.
    """

    def __init__(self, encoder: ImageEncoder, method: str = "auto") -> None:
        self.encoder = encoder
        self.method = choose(encoder, method)
        self._warned = False

    def explain(self, batch: torch.Tensor) -> PlaceFactors:
        """Return what ``encode_images`` gives for n stacked inputs, not projected, with its factors: of one forward pass.

        Where the method takes one, that is. Both are in float32, whatever precision the encoder runs in otherwise. A large
        residual is warned about once.
        """
        pixels = self.encoder.normalise(batch)  # type: ignore[attr-defined]
        found = made_by(self.method, self.encoder, UNPROJECTED, pixels)
        if completes(self.method) and not self._warned:
            self._warned = warn_of_residual(found, "images")
        return found

    @cached_property
    def places(self) -> int:
        """How many factors an image has, as one tells."""
        blank = self.encoder.prepare(Image.new("RGB", (64, 64)))  # type: ignore[attr-defined]
        return self.explain(blank.unsqueeze(0)).parts.shape[1]

    def __getattr__(self, name: str) -> Any:
        if name == "encoder":  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.encoder, name)
