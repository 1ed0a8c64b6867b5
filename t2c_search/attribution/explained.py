"""An encoder that tells, in the pass in which it embeds, which places made each vector."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from PIL import Image

from t2c_search.attribution.methods import choose, place_factors
from t2c_search.attribution.projection import UNPROJECTED

if TYPE_CHECKING:
    import torch

    from t2c_search.attribution.factors import PlaceFactors
    from t2c_search.encoders.protocols import ImageEncoder


class Explained:
    """An image encoder, all of whose attributes this has, and the ``method`` by which its vectors are taken apart.

    Raises UsageError for a method that is not for the encoder, and for an encoder whose vectors cannot be taken apart.
    """

    def __init__(self, encoder: ImageEncoder, method: str = "auto") -> None:
        self.encoder = encoder
        self.method = choose(encoder, method)

    def explain(self, batch: torch.Tensor) -> PlaceFactors:
        """Return what ``encode_images`` gives for n stacked inputs, not projected, with its factors: of one forward pass.

        Where the method takes one, that is. Both are in float32, whatever precision the encoder runs in otherwise.
        """
        pixels = self.encoder.normalise(batch)  # type: ignore[attr-defined]
        return place_factors(self.encoder, UNPROJECTED, pixels, self.method)  # type: ignore[arg-type]

    @cached_property
    def places(self) -> int:
        """How many factors an image has, as one tells."""
        blank = self.encoder.prepare(Image.new("RGB", (64, 64)))  # type: ignore[attr-defined]
        return self.explain(blank.unsqueeze(0)).parts.shape[1]

    def __getattr__(self, name: str) -> Any:
        if name == "encoder":  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.encoder, name)
