"""``timm:NAME`` and ``timm:local-dir:PATH``: the image models of timm, without their classifiers; ``?layers=N`` of each."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import timm
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

from t2c_search.encoders.adapters.anatomy import Anatomy
from t2c_search.encoders.adapters.pooling import Pooling, PoolingKind, carries, leaves
from t2c_search.encoders.adapters.preprocessing import Preprocessing
from t2c_search.encoders.adapters.stages import Stages, outputs_of_timm
from t2c_search.encoders.adapters.timm_attention import pooled_of
from t2c_search.encoders.adapters.tower import ImageTower
from t2c_search.encoders.loading import LOCAL_DIR, loading, local_folder, suggest
from t2c_search.encoders.options import Options
from t2c_search.encoders.placement import Placement
from t2c_search.errors import UnknownEncoderError

if TYPE_CHECKING:
    import torch

    from t2c_search.settings import Device, Dtype

_REMEDY = "save its config.json and model.safetensors in a folder and use timm:local-dir:FOLDER"


def load(spec: str, *, options: Options, device: Device, dtype: Dtype) -> ImageTower:
    """Load a timm model; its embedding is the pooled feature that its classifier would see, (n, d) float32.

    Raises UnknownEncoderError for a name or folder that is not there, EncoderError when it cannot be loaded.
    """
    if spec.startswith(LOCAL_DIR):
        spec = f"{LOCAL_DIR}{local_folder(f'timm:{spec}', spec.removeprefix(LOCAL_DIR), 'config.json')}"
    elif ":" not in spec and not timm.models.is_model_pretrained(spec):
        known = timm.list_models(pretrained=True)
        raise UnknownEncoderError(f"timm has no pretrained model {spec!r}{suggest(spec, known)}")
    return load_as(f"timm:{spec}", spec, options=options, device=device, dtype=dtype)


def load_as(name: str, spec: str, *, options: Options, device: Device, dtype: Dtype) -> ImageTower:
    """Load a timm model under an id of the caller's choice, which the options end."""
    encoder_id = f"{name}{options}"
    placement = Placement.choose(device, dtype)
    with loading(encoder_id, _REMEDY, from_hub=not spec.startswith(LOCAL_DIR)):
        module = timm.create_model(spec, pretrained=True, num_classes=0)
        config = resolve_model_data_config(module)  # type: ignore[no-untyped-call]
        preprocessing = Preprocessing.split(create_transform(**config, is_training=False), config)
        if options.layers:  # no one map makes its rows: no anatomy of theirs
            outputs = outputs_of_timm(encoder_id, module, anatomy_of(module))
            stages = Stages(module, options.layers, replace(outputs, pooled=partial(pooled_of, module)))
            return ImageTower(encoder_id, stages, preprocessing, placement)
        return ImageTower(encoder_id, module, preprocessing, placement, anatomy_of(module))


def anatomy_of(module: torch.nn.Module) -> Anatomy | None:
    """Return the anatomy of a model of timm's; None for a kind that is not known to have this one."""
    module.eval()
    if isinstance(module, VisionTransformer | Eva | Beit):
        if not (grid := module.patch_embed.grid_size):  # the model takes images of any shape
            return None
        anatomy = Anatomy(module.forward_features, module.forward_head, tuple(grid), blocks=tuple(module.blocks))
        return replace(_with_pooling(anatomy, _pooling_of_tokens(module), module), pooled=pooled_of(module))
    if any(isinstance(part, SelectAdaptivePool2d) for part in module.modules()):
        layout = getattr(module, "output_fmt", "NCHW")
        anatomy = Anatomy(module.forward_features, module.forward_head, layout=layout)  # type: ignore[arg-type]
        return _with_pooling(anatomy, _pooling_of_map(module), module)
    return None


def _pooling_of_tokens(module: Any) -> Pooling | None:
    if getattr(module, "attn_pool", None) is not None:
        return None
    return _pooling(module.global_pool, [module.fc_norm, module.head], getattr(module, "pool_include_prefix", False))


def _pooling_of_map(module: torch.nn.Module) -> Pooling | None:
    parts = list(module.modules())
    pool = next(part for part in parts if isinstance(part, SelectAdaptivePool2d))
    behind = [part for part in parts[parts.index(pool) :] if part not in set(pool.modules())]
    return _pooling(pool.pool_type.removeprefix("fast") or "avg", behind)


def _pooling(kind: str, behind: list[torch.nn.Module], all_tokens: bool = False) -> Pooling | None:
    known = kind in get_args(PoolingKind) and all(carries(leaf) for leaf in leaves(behind))
    return Pooling(kind, leaves(behind), all_tokens) if known else None  # type: ignore[arg-type]


def _with_pooling(anatomy: Anatomy, pooling: Pooling | None, module: Any) -> Anatomy:
    """Add a pooling, if the model pools like that: modules lie in the order of their use in most models, not in all."""
    tokens = getattr(module, "num_prefix_tokens", 0)
    agrees = pooling is not None and pooling.agrees(anatomy.head, module.num_features, tokens)
    return replace(anatomy, pooling=pooling) if agrees else anatomy
