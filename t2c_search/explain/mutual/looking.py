"""An image as a model sees it, place by place: its features, and what each place gives to its vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from t2c_search.explain.mutual.parts import Grid, Indices, Mask, foreground
from t2c_search.explain.view import WHOLE, View
from t2c_search.types import FloatArray

if TYPE_CHECKING:
    import torch

    from t2c_search.alignment.aligner import Aligner
    from t2c_search.encoders.protocols import ImageEncoder


BATCH = 16
"""Images that go through a model together."""


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """An image's foreground: m of the n places of a ``grid``.

    ``vector`` (d,) is its unit row of CLIP space; ``features`` (m, d_features) are what parts are found by, and ``rows`` (m, d)
    the vectors of CLIP space that the image would have if all of it were like each place. The grid lies over the ``view`` of
    the upright image, where that was asked for.
    """

    vector: FloatArray
    grid: Grid
    shown: Mask
    features: FloatArray
    rows: FloatArray
    view: View = WHOLE

    def part_rows(self, numbers: Indices) -> FloatArray:
        """Return the vectors (k, d) the image would have if all of it were like each of its k parts: ``numbers`` (m,)."""
        return np.stack([self.rows[numbers == part].mean(0) for part in np.unique(numbers)])


def look(encoder: ImageEncoder, aligner: Aligner | None, pixels: torch.Tensor) -> list[Looked]:
    """Return the foregrounds of images by their pixels (n, 3, h, w), which are what ``encoder.normalise`` gives.

    The places' features are those before pooling, or, of an encoder that does not show them, the factors. A place's row is
    the image's vector with the mean of all places' factors exchanged for n times its own: nothing is embedded again, where
    the paper marks each part in the picture three ways and embeds those. In drawn scenes of several objects that tells an
    object's colour and shape right in 99, 67 and 31 % (``mini``, ``mini:cnn``, ``mini:vit``); the paper's marks in 35, 19 and
    17 % (``benchmarks.explanations.knowledge``). Raises UsageError for an encoder whose vectors cannot be taken apart.
    """
    from t2c_search.attribution.methods import place_factors

    factors = place_factors(encoder, aligner, pixels)
    parts = factors.parts
    vectors = factors.vectors.float().cpu().numpy()
    rows = (factors.vectors.unsqueeze(1) + parts.shape[1] * (parts - parts.mean(1, keepdim=True))).float().cpu().numpy()
    own = _features(encoder, pixels, factors.grid)
    features = parts.float().cpu().numpy() if own is None else own
    shown = [foreground(each, factors.grid) for each in features]
    return [
        Looked(vectors[at], factors.grid, mask, features[at][mask], rows[at][mask]) for at, mask in enumerate(shown)
    ]


def _features(encoder: ImageEncoder, pixels: torch.Tensor, grid: Grid) -> FloatArray | None:
    """Return the places' features (n, places, d) before pooling; None where an encoder has none for the places of its factors."""
    import torch

    from t2c_search.encoders.capabilities import FeatureMaps

    if not isinstance(encoder, FeatureMaps):
        return None
    with torch.inference_mode():
        map = encoder.feature_map(pixels)
    if map.grid != grid:
        return None
    features: FloatArray = map.values[:, -grid[0] * grid[1] :].float().cpu().numpy()
    return features
