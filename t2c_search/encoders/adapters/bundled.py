"""``mini``, ``mini:cnn`` and ``mini:vit``: the models inside the package. They know drawn scenes only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2c_search.encoders.loading import LOCAL_DIR
from t2c_search.encoders.mini import path
from t2c_search.errors import UnknownEncoderError

if TYPE_CHECKING:
    from t2c_search.encoders.adapters.tower import ImageTower
    from t2c_search.encoders.options import Options
    from t2c_search.settings import Device, Dtype

_BACKBONES = ("cnn", "vit")


def load(spec: str, *, options: Options, device: Device, dtype: Dtype) -> ImageTower:
    """Load the mini CLIP model (empty ``spec``) or a mini backbone. Raises UnknownEncoderError for another name."""
    if not spec:
        from t2c_search.encoders.adapters import open_clip

        return open_clip.load_as("mini", f"{LOCAL_DIR}{path('clip')}", options=options, device=device, dtype=dtype)
    if spec in _BACKBONES:
        from t2c_search.encoders.adapters import timm

        return timm.load_as(f"mini:{spec}", f"{LOCAL_DIR}{path(spec)}", options=options, device=device, dtype=dtype)
    raise UnknownEncoderError(f"no mini model 'mini:{spec}'; there are mini (a CLIP model), mini:cnn and mini:vit")
