"""``open_clip:NAME/TAG`` and ``open_clip:local-dir:PATH``: CLIP models of every kind that open_clip knows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING

import open_clip
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch.nn.functional import normalize

from t2c_search.encoders.adapters.anatomy import Anatomy, in_turn
from t2c_search.encoders.adapters.open_clip_towers import TextTower, pooled_of, projected
from t2c_search.encoders.adapters.pooling import Pooling, carries, leaves
from t2c_search.encoders.adapters.preprocessing import Preprocessing
from t2c_search.encoders.adapters.stages import Outputs, Stages, outputs_of_open_clip, outputs_of_timm
from t2c_search.encoders.adapters.timm import anatomy_of as anatomy_of_timm
from t2c_search.encoders.adapters.tower import ImageTower
from t2c_search.encoders.fingerprint import PROBE_SENTENCE
from t2c_search.encoders.loading import LOCAL_DIR, loading, local_folder, suggest
from t2c_search.encoders.placement import Placement
from t2c_search.errors import UnknownEncoderError

if TYPE_CHECKING:
    from t2c_search.encoders.options import Options
    from t2c_search.settings import Device, Dtype

_REMEDY = (
    "save its open_clip_config.json and open_clip_model.safetensors in a folder and use open_clip:local-dir:FOLDER"
)
_TEXT_BATCH = 256  # captions beside a vision model on any device


class OpenClipEncoder(ImageTower):
    """Both towers of a CLIP model."""

    vocabulary = None

    def __init__(
        self,
        encoder_id: str,
        module: torch.nn.Module,
        preprocessing: Preprocessing,
        tokenizer: Callable[[list[str]], torch.Tensor],
        placement: Placement,
    ) -> None:
        tokens = tokenizer([PROBE_SENTENCE]).tolist()
        description = {"images": preprocessing.description, "tokens": tokens}
        anatomy = _anatomy_of(module.visual)  # type: ignore[arg-type]
        super().__init__(encoder_id, module, replace(preprocessing, description=description), placement, anatomy)
        self.text_dim = self.image_dim
        self._tokenizer = tokenizer
        if texts := TextTower.of(module, tokenizer):
            self.text_tokens = texts.tokens

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run the image tower on normalised pixels."""
        return self.module.encode_image(pixels)  # type: ignore[operator, no-any-return]

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Map n texts to unit rows (n, text_dim) float32 on the encoder's device."""
        rows = [torch.empty(0, self.text_dim, device=self.device)]
        for start in range(0, len(texts), _TEXT_BATCH):
            tokens = self._tokenizer(list(texts[start : start + _TEXT_BATCH])).to(self.device)
            with torch.inference_mode(), self._placement.autocast():
                embedded = self.module.encode_text(tokens)  # type: ignore[operator]
            rows.append(normalize(embedded.to(torch.float32, copy=True)))
        return torch.cat(rows)


def load(spec: str, *, options: Options, device: Device, dtype: Dtype) -> ImageTower:
    """Load an open_clip model with the image preprocessing and the tokenizer that it was trained with.

    It is an OpenClipEncoder, but with several layers its image tower alone: texts know the last one's space only.

    Raises UnknownEncoderError for a name, tag or folder that is not there, EncoderError when it cannot be loaded.
    """
    if spec.startswith(LOCAL_DIR):
        folder = local_folder(f"open_clip:{spec}", spec.removeprefix(LOCAL_DIR), "open_clip_config.json")
        spec = f"{LOCAL_DIR}{folder}"
    return load_as(f"open_clip:{spec}", spec, options=options, device=device, dtype=dtype)


def load_as(model_id: str, spec: str, *, options: Options, device: Device, dtype: Dtype) -> ImageTower:
    """Load an open_clip model under an id of the caller's choice, which the options end."""
    encoder_id = f"{model_id}{options}"
    name, tag = (spec, None) if ":" in spec else _name_and_tag(spec)
    placement = Placement.choose(device, dtype)
    with loading(encoder_id, _REMEDY, from_hub=not spec.startswith(LOCAL_DIR)), _quiet_root_logger():
        module, transform = open_clip.create_model_from_pretrained(name, tag, force_quick_gelu=_quick_gelu(name, tag))
        preprocessing = Preprocessing.split(transform, module.visual.preprocess_cfg)
        if options.layers:
            outputs = replace(_outputs_of(encoder_id, module.visual), pooled=partial(pooled_of, module.visual))
            return ImageTower(encoder_id, Stages(module.visual, options.layers, outputs), preprocessing, placement)
        return OpenClipEncoder(encoder_id, module, preprocessing, open_clip.get_tokenizer(name), placement)


def _name_and_tag(spec: str) -> tuple[str, str]:
    """Split NAME/TAG; open_clip itself would give random weights without a tag. Raises UnknownEncoderError."""
    name, _, tag = spec.rpartition("/")
    tags = open_clip.list_pretrained_tags_by_model(name or tag)
    if name and tag in tags:
        return name, tag
    if tags:
        near = suggest(tag, tags) if name else ""
        remedy = near or f": use open_clip:{name or tag}/TAG with a tag of {', '.join(tags)}"
        raise UnknownEncoderError(f"'open_clip:{spec}' names no weights{remedy}")
    known = [f"{model}/{tag}" for model, tag in open_clip.list_pretrained()]
    raise UnknownEncoderError(f"open_clip has no pretrained model {spec!r}{suggest(spec, known)}")


def _quick_gelu(name: str, tag: str | None) -> bool:
    """Tell whether weights were trained with QuickGELU; open_clip only warns where its architecture has another."""
    return tag is not None and bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu"))


def _anatomy_of(visual: torch.nn.Module) -> Anatomy | None:
    """Return the anatomy of a CLIP model's image tower; None for a kind that is not known to have this one."""
    match visual:
        case VisionTransformer(output_tokens=False):
            return _anatomy_of_transformer(visual)
        case ModifiedResNet():
            stages = (visual.stem, visual.layer1, visual.layer2, visual.layer3, visual.layer4)
            return Anatomy(in_turn(*stages), visual.attnpool, pooled=pooled_of(visual))
        case TimmModel():
            return _anatomy_of_trunk(visual)
    return None


def _anatomy_of_trunk(visual: TimmModel) -> Anatomy | None:
    trunk = anatomy_of_timm(visual.trunk)
    if trunk is None:
        return None
    behind, pooling = leaves([visual.head]), None
    if trunk.pooling and all(carries(leaf) for leaf in behind):
        pooling = replace(trunk.pooling, behind=(*trunk.pooling.behind, *behind))
    return replace(trunk, pool=in_turn(trunk.pool, visual.head), pooling=pooling, pooled=pooled_of(visual))


def _outputs_of(encoder_id: str, visual: torch.nn.Module) -> Outputs:
    """Return the outputs of a CLIP model's image tower, stage by stage."""
    if not isinstance(visual, TimmModel):
        return outputs_of_open_clip(visual)
    trunk = outputs_of_timm(encoder_id, visual.trunk)
    return Outputs(trunk.intermediates, in_turn(trunk.embedding, visual.head), _anatomy_of_trunk(visual))


def _anatomy_of_transformer(visual: VisionTransformer) -> Anatomy:
    project = projected(visual)
    features, pool, pooling = in_turn(visual._embeds, visual.transformer), visual._pool, None
    if visual.attn_pool is None and not visual.final_ln_after_pool:  # the last norm sees every token
        features, pool = in_turn(features, visual.ln_post), visual._global_pool
    if visual.attn_pool is None and visual.pool_type == "avg":
        pooling = Pooling("avg", (visual.ln_post, project) if visual.final_ln_after_pool else (project,))
    rows, columns = visual.grid_size
    blocks = tuple(visual.transformer.resblocks) if visual.transformer.batch_first else ()
    whole = Anatomy(features, in_turn(pool, itemgetter(0), project), (rows, columns), blocks=blocks, pooling=pooling)
    return replace(whole, pooled=pooled_of(visual))


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Keep open_clip, which logs through the root logger, from giving that a handler for good (logging.basicConfig)."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
