"""The real models, aligned to flickr-mini on the captions' ``train`` photographs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

from torch import Tensor
from torch.nn.functional import normalize

from benchmarks._captions import REAL, read_captions
from benchmarks.explanations._models import Model, Picture, align, embed
from t2c_search.decoding.decode import decode_file
from t2c_search.encoders import registry
from t2c_search.encoders.protocols import DualEncoder, ImageEncoder

CLIP = f"open_clip:local-dir:{REAL}/open_clip/flickr-mini"
BACKBONES = {"MobileNetV1": "mobilenetv1_100", "MobileNetV2": "mobilenetv2_100", "ViT-S": "vit_small_dinov2_saliency"}
"""Folders of ``timm`` by the names that tables have."""
QUICK_PAIRS = 80


@cache
def train(quick: bool) -> tuple[str, ...]:
    """The photographs that aligners are fitted on."""
    return tuple(list(read_captions("train"))[: QUICK_PAIRS if quick else None])


def photo(name: str) -> Picture:
    return partial(decode_file, REAL / "photos" / "images" / name)


@cache
def encoder(name: str) -> ImageEncoder:
    return registry.load_image_encoder(f"timm:local-dir:{REAL}/timm/{BACKBONES[name]}")


@cache
def flickr_mini() -> DualEncoder:
    clip = registry.load(CLIP)
    assert isinstance(clip, DualEncoder)
    return clip


@cache
def rows_of(name: str, quick: bool) -> Tensor:
    """The rows of the train photographs by a backbone, or by the CLIP model itself."""
    own = flickr_mini() if name == "flickr-mini" else encoder(name)
    return embed(own, [photo(each) for each in train(quick)])


def real_model(name: str, quick: bool, pairs: int | None = None) -> Model:
    """A backbone aligned on so many pairs, all if not told; or the CLIP model itself."""
    if name == "flickr-mini":
        return Model(flickr_mini(), None, flickr_mini(), normalize(rows_of(name, quick)).mean(0))
    known, clip_rows = (rows_of(each, quick)[:pairs] for each in (name, "flickr-mini"))
    return align(encoder(name), flickr_mini(), train(quick)[:pairs], known, clip_rows)


def another_clip(clip_id: str, pictures: Sequence[str]) -> Model:
    """Another CLIP model itself, about the mean of some photographs."""
    clip = registry.load(clip_id)
    assert isinstance(clip, DualEncoder)
    return Model(clip, None, clip, normalize(embed(clip, [photo(name) for name in pictures])).mean(0))
