"""Small encoders of many kinds in float64, with weights that make everything bend."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import QuickGELU
from open_clip.transformer import VisionTransformer as OpenClipTransformer
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

from t2c_search.alignment.aligner import Aligner
from t2c_search.encoders.adapters import open_clip as of_open_clip
from t2c_search.encoders.adapters import open_clip_towers, timm_attention
from t2c_search.encoders.adapters.anatomy import Anatomy
from t2c_search.encoders.adapters.preprocessing import Preprocessing
from t2c_search.encoders.adapters.stages import Stages, outputs_of_open_clip, outputs_of_timm
from t2c_search.encoders.adapters.timm import anatomy_of
from t2c_search.encoders.adapters.tower import ImageTower
from t2c_search.encoders.placement import Placement
from tests.alignment.test_aligner import BACKBONE, CLIP, REPORT

SIDE = 32
_TIMM = partial(VisionTransformer, img_size=SIDE, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0)
_OPEN_CLIP = partial(
    OpenClipTransformer, image_size=SIDE, patch_size=8, width=24, layers=2, heads=3, mlp_ratio=2, output_dim=10
)

ATTENTION = {
    "class token": lambda: _TIMM(),
    "registers, layer scale, no bias": lambda: _TIMM(reg_tokens=2, init_values=0.5, qkv_bias=False),
    "normed queries and keys, a norm behind": lambda: _TIMM(qk_norm=True, fc_norm=True),
    "a learnt query": lambda: _TIMM(global_pool="map", class_token=False),
    "open_clip's class token": lambda: _OPEN_CLIP(ls_init_value=0.5, act_layer=QuickGELU),
    "open_clip's, normed behind": lambda: _OPEN_CLIP(final_ln_after_pool=True),
    "CoCa's query": lambda: _OPEN_CLIP(attentional_pool=True, attn_pooler_heads=2, attn_pooler_queries=3),
    "the mean asks": lambda: ModifiedResNet([1, 1, 1, 1], output_dim=10, heads=2, image_size=64, width=8),
}
"""Towers whose rows are read by attention, by what is particular about each."""


def wrap(module: torch.nn.Module, layers: int = 0) -> ImageTower:
    """Make a module an encoder that takes pixels as they are, its weights drawn anew, in float64."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            spread = {1: 0.3, 4: 2.0 / parameter[0].numel() ** 0.5}.get(
                parameter.ndim, 1.2 / parameter[0].numel() ** 0.5
            )
            centre = parameter.mean() if parameter.ndim == 1 else 0  # norms about one
            parameter.copy_(centre + spread * torch.randn(parameter.shape, generator=generator))
    side = getattr(module, "image_size", SIDE)
    size = side if isinstance(side, int) else side[0]
    blank = Preprocessing(lambda image: torch.ones(3, size, size), "ones")
    if layers:
        of_timm = type(module).__module__.startswith("timm")
        outputs = outputs_of_timm("test", module, anatomy_of(module)) if of_timm else outputs_of_open_clip(module)
        outputs = replace(outputs, pooled=partial((timm_attention if of_timm else open_clip_towers).pooled_of, module))
        encoder = ImageTower("test", Stages(module, layers, outputs), blank, CPU)
    else:
        encoder = ImageTower("test", module, blank, CPU, _anatomy(module))
    encoder.module.double()
    return encoder


CPU = Placement(torch.device("cpu"), torch.float32)


def _anatomy(module: torch.nn.Module) -> Anatomy | None:
    return anatomy_of(module) if type(module).__module__.startswith("timm") else of_open_clip._anatomy_of(module)


def noise(encoder: ImageTower, number: int = 2) -> torch.Tensor:
    """Return so many images of noise, as the module sees them, of its dtype."""
    shape = encoder.prepare(Image.new("RGB", (SIDE, SIDE))).shape
    dtype = next(encoder.module.parameters()).dtype
    return torch.randn(number, *shape, generator=torch.Generator().manual_seed(3)).to(dtype)


def aligner_of(width: int, axis: bool = True) -> Aligner:
    """Return an aligner of rows of a width that does all that aligners do: unit rows, a bias, the sphere."""
    generator = torch.Generator().manual_seed(width)
    weight = torch.randn(width, 8, generator=generator) / 10
    bias = torch.randn(8, generator=generator) / 6
    return Aligner(BACKBONE, CLIP, "unit", weight, bias, torch.nn.functional.normalize(bias, dim=0) * axis, REPORT)
