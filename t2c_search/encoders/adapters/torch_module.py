"""``torch:module.path:factory``: any torch module, from the user's own code.

``factory()`` returns ``(module, preprocess)``: ``preprocess`` maps one upright RGB PIL image to a tensor (c, h, w), and
``module`` a batch of those to embeddings (n, d). The module's file lies on Python's path or in the working directory.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from t2c_search.encoders.adapters.preprocessing import Preprocessing
from t2c_search.encoders.adapters.stages import Stages, outputs_of_timm
from t2c_search.encoders.adapters.tower import ImageTower
from t2c_search.encoders.loading import loading, suggest
from t2c_search.encoders.local_files import Stamp, stamp
from t2c_search.encoders.options import Options
from t2c_search.encoders.placement import Placement
from t2c_search.errors import EncoderError, UnknownEncoderError

if TYPE_CHECKING:
    from t2c_search.settings import Device, Dtype

_imported: dict[str, Stamp] = {}  # modules of factories, and what their files were then: one that changed is read anew
_REMEDY = "its factory asks the hub: let it load files of this machine"


def load(spec: str, *, options: Options, device: Device, dtype: Dtype) -> ImageTower:
    """Call a factory and wrap the module it returns.

    Raises UnknownEncoderError when there is no such factory, EncoderError when it fails or returns something else.
    """
    encoder_id = f"torch:{spec}{options}"
    factory = _find(encoder_id, spec)
    placement = Placement.choose(device, dtype)
    with loading(encoder_id, _REMEDY, from_hub=False):
        made = factory()
        match made:
            case (torch.nn.Module() as module, preprocess) if callable(preprocess):
                if options.layers:
                    module = Stages(module, options.layers, outputs_of_timm(encoder_id, module))
                preprocessing = Preprocessing.split(preprocess, _describe(preprocess))
                return ImageTower(encoder_id, module, preprocessing, placement)
    raise EncoderError(f"{encoder_id!r} returned {type(made).__name__}, expected (torch.nn.Module, preprocess)")


def _find(encoder_id: str, spec: str) -> Callable[[], Any]:
    path, _, name = spec.rpartition(":")
    if not path or not name:
        raise UnknownEncoderError(f"{encoder_id!r} names no factory: expected torch:module.path:factory")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # a console script, unlike `python -m`, does not look beside the user's own files
    try:
        module = importlib.import_module(path)
        if _imported.setdefault(path, now := stamp(encoder_id)) != now:
            _imported[path] = now
            module = importlib.reload(module)
    except ModuleNotFoundError as exc:
        raise UnknownEncoderError(f"{encoder_id!r}: {exc} (looked on Python's path and in {here})") from exc
    factory = getattr(module, name, None)
    if not callable(factory):
        near = suggest(name, dir(module))
        raise UnknownEncoderError(f"{encoder_id!r}: module {path!r} has no function {name!r}{near}")
    return factory  # type: ignore[no-any-return]


def _describe(preprocess: object) -> str:
    """Say what a preprocessing is by its repr, without the addresses that differ between processes."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(preprocess))
