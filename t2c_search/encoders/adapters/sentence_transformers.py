"""``st:NAME_OR_PATH``: sentence-transformers models of images and texts, or of texts alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformer
from torch.nn.functional import normalize

from t2c_search.encoders.adapters.preprocessing import Preprocessing
from t2c_search.encoders.adapters.tower import ImageTower
from t2c_search.encoders.fingerprint import PROBE_SENTENCE
from t2c_search.encoders.loading import loading, local_folder
from t2c_search.encoders.local_files import is_path
from t2c_search.encoders.placement import Placement
from t2c_search.errors import EncoderError

if TYPE_CHECKING:
    from PIL import Image

    from t2c_search.settings import Device, Dtype

_REMEDY = "save it with SentenceTransformer.save(FOLDER) where it is and use st:FOLDER"
_TEXT_BATCH = 256


class SentenceTextEncoder:
    """A text model: unit rows for any text."""

    vocabulary = None

    def __init__(self, encoder_id: str, model: SentenceTransformer, placement: Placement) -> None:
        self.id = encoder_id
        self._model = model.eval().requires_grad_(False).to(placement.device)
        self._placement = placement
        self.text_dim = self.encode_texts([PROBE_SENTENCE]).shape[1]

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Map n texts to unit rows (n, text_dim) float32 on the model's device."""
        if not texts:
            return torch.empty(0, self.text_dim, device=self._placement.device)
        with self._placement.autocast():
            rows = self._model.encode(
                list(texts), batch_size=_TEXT_BATCH, convert_to_tensor=True, show_progress_bar=False
            )
        return normalize(rows.to(torch.float32, copy=True))


class SentenceImageEncoder(ImageTower):
    """The image side of a model."""

    module: SentenceTransformer

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run the model on the pixels that its processor made."""
        return self.module({"pixel_values": pixels, "modality": "image"})["sentence_embedding"]  # type: ignore[no-any-return]


class SentenceDualEncoder(SentenceImageEncoder):
    """Both sides of a model that maps images and texts to one space."""

    vocabulary = None

    def __init__(
        self, encoder_id: str, module: SentenceTransformer, preprocessing: Preprocessing, placement: Placement
    ) -> None:
        super().__init__(encoder_id, module, preprocessing, placement)
        self._texts = SentenceTextEncoder(encoder_id, module, placement)
        self.text_dim = self._texts.text_dim

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Map n texts to unit rows (n, text_dim) float32 on the model's device."""
        return self._texts.encode_texts(texts)


def load(
    spec: str, *, device: Device, dtype: Dtype
) -> SentenceTextEncoder | SentenceImageEncoder | SentenceDualEncoder:
    """Load a model by the name that SentenceTransformer knows, or from a folder.

    Raises UnknownEncoderError for a folder that is not there, EncoderError when the model cannot be loaded, or takes
    more than pixels for an image.
    """
    local = is_path(spec)
    if local:
        spec = str(local_folder(f"st:{spec}", spec, "config.json"))
    encoder_id = f"st:{spec}"
    placement = Placement.choose(device, dtype)
    with loading(encoder_id, _REMEDY, from_hub=not local), _no_progress_bar():
        model = SentenceTransformer(
            spec, device=str(placement.device), local_files_only=local, model_kwargs={"dtype": torch.float32}
        )
        _pad_as_trained(model)
        if not model.supports("image"):
            return SentenceTextEncoder(encoder_id, model, placement)
        kind = SentenceDualEncoder if model.supports("text") else SentenceImageEncoder
        return kind(encoder_id, model, _preprocessing(encoder_id, model), placement)


def _pad_as_trained(model: SentenceTransformer) -> None:
    """Have a SigLIP model's texts padded to their full length, as in its training, unless its folder says how.

    It reads a text off the last position, padding or not: padded to the longest of a batch, as texts are otherwise, its
    rankings invert silently.
    """
    first: Any = model[0]
    config: Any = getattr(first, "config", None)
    if not str(getattr(config, "model_type", "")).startswith("siglip"):
        return
    length = getattr(config, "text_config", config).max_position_embeddings
    own = first.processing_kwargs
    first.processing_kwargs = {**own, "text": {"padding": "max_length", "max_length": length, **own.get("text", {})}}


def _preprocessing(encoder_id: str, model: SentenceTransformer) -> Preprocessing:
    """Make the model's own processor a transform of one image; it normalises on the CPU."""

    def transform(image: Image.Image) -> torch.Tensor:
        features = model.preprocess([image])
        if set(features) != {"pixel_values", "modality"}:
            raise EncoderError(
                f"{encoder_id!r} takes {', '.join(sorted(features))} for an image; only models that take pixel_values "
                "alone can embed images in batches"
            )
        return features["pixel_values"][0]

    processor = getattr(model.processor, "image_processor", model.processor)
    description = {"images": json.loads(processor.to_json_string())}
    if model.supports("text"):
        description["tokens"] = model.preprocess([PROBE_SENTENCE])["input_ids"].tolist()
    return Preprocessing(transform, description, _resized_to(description["images"]))


def _resized_to(processor: dict[str, Any]) -> int | None:
    """Return the shorter side that a processor's resizing needs; None when it is not said."""
    size = processor.get("size") if processor.get("do_resize") else None
    if not isinstance(size, dict):
        return None
    if "shortest_edge" in size and "longest_edge" not in size:
        return int(size["shortest_edge"])
    return max(size["height"], size["width"]) if {"height", "width"} <= size.keys() else None


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar over weights that load in a second."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
