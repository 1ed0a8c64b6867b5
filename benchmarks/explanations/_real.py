"""The real models, aligned to flickr-mini on the captions' ``train`` photographs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

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
QUICK_PAIRS = 40


@cache
def train(quick: bool) -> tuple[str, ...]:
    """The photographs that aligners are fitted on."""
    return tuple(list(read_captions("train"))[: QUICK_PAIRS if quick else None])


def photo_path(name: str) -> Path:
    return REAL / "photos" / "images" / name


def photo(name: str) -> Picture:
    return partial(decode_file, photo_path(name))


def load_encoder(name: str) -> ImageEncoder:
    """Load a backbone by its name in tables, or the CLIP model itself."""
    return registry.load_image_encoder(f"timm:local-dir:{REAL}/timm/{BACKBONES[name]}" if name in BACKBONES else CLIP)


encoder = cache(load_encoder)


def flickr_mini() -> DualEncoder:
    clip = encoder("flickr-mini")
    assert isinstance(clip, DualEncoder)
    return clip


@cache
def rows_of(name: str, quick: bool) -> Tensor:
    """The rows of the train photographs by a backbone, or by the CLIP model itself."""
    return embed(encoder(name), [photo(each) for each in train(quick)])


def real_model(name: str, quick: bool, pairs: slice = slice(None)) -> Model:
    """A backbone aligned on the train photographs, or some of them; or the CLIP model itself."""
    if name == "flickr-mini":
        return Model(flickr_mini(), None, flickr_mini(), normalize(rows_of(name, quick)).mean(0))
    known, clip_rows = (rows_of(each, quick)[pairs] for each in (name, "flickr-mini"))
    return align(encoder(name), flickr_mini(), train(quick)[pairs], known, clip_rows)


def another_clip(clip_id: str, pictures: Sequence[str]) -> Model:
    """Another CLIP model itself, about the mean of some photographs."""
    clip = registry.load(clip_id)
    assert isinstance(clip, DualEncoder)
    return Model(clip, None, clip, normalize(embed(clip, [photo(name) for name in pictures])).mean(0))
