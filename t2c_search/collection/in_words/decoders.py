"""Decoders, which say in sentences what vectors mean: trained on captions alone, and put to work on a collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from t2c_search.aside import folder_aside
from t2c_search.collection.models import ModelSelection
from t2c_search.collection.snapshot import Snapshot
from t2c_search.encoders import mini, registry
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.encoders.pool import ModelPool, default_pool
from t2c_search.errors import UsageError
from t2c_search.progress import NoProgress, Progress
from t2c_search.settings import Device, Dtype, load_settings
from t2c_search.sources.remarks import Remarks
from t2c_search.sources.tables.captions import read_captions

if TYPE_CHECKING:
    import torch

    from t2c_search.concepts.describe.folder import DecoderCard
    from t2c_search.concepts.describe.results import Say
    from t2c_search.encoders.protocols import TextEncoder

_BATCH = 256  # captions embedded at a time


def fit_decoder(
    captions: str | Path | Iterable[str],
    output: str | Path,
    *,
    clip: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: Device | None = None,
    dtype: Dtype | None = None,
    pool: ModelPool | None = None,
    progress: Progress | None = None,
) -> DecoderCard:
    """Train a decoder of a CLIP model's space into a new or empty folder, for ``Collection.describe``; no image is needed.

    ``captions`` is a text file with one a line, a table with a column ``caption`` (CSV, JSON lines, COCO), or the captions
    themselves. ``steps`` of the training (1,000) take longer the longer the captions are. The
    same captions, seed and machine give the same decoder. All captions' vectors are in memory meanwhile.

    DeCap (Li et al., ICLR 2023, arXiv 2303.03032). Raises UsageError for captions that cannot be read or are too few, for a
    folder that holds something, and for a CLIP model that does not read texts as they come.
    """
    from t2c_search.concepts.describe.folder import write_decoder
    from t2c_search.concepts.describe.training import Captions, DecoderRecipe, train_decoder

    settings, told = load_settings(), progress or NoProgress()
    recipe = DecoderRecipe() if steps is None else DecoderRecipe(steps=steps)
    texts = list(_given(captions))
    choice = ModelSelection(
        device=device or settings.device, dtype=dtype or settings.dtype, pool=pool or default_pool()
    )
    model = choice.load_clip(clip or settings.clip)
    tower = registry.require_text(model)
    if tower.vocabulary is not None:
        raise UsageError(
            f"{model.id!r} knows the vectors of its own {len(tower.vocabulary)} texts alone, not captions'"
        )
    with folder_aside(Path(output)) as aside:
        lessons = Captions.of(texts, lambda each: _embed(tower, each, told))
        told.start(recipe.steps * recipe.batch, "training the decoder")
        return write_decoder(aside, train_decoder(lessons, recipe, seed=seed, advance=told.advance), encoder_ref(model))


def sentences(now: Snapshot, decoder: str | Path | None) -> Say | None:
    """Return what says a sentence about each point of a collection's CLIP space, or None.

    Left out, the decoder is the bundled one where the collection is of the mini CLIP's space. Raises EncoderError where there
    is no decoder that can be read, UsageError for one of another CLIP model's space.
    """
    if decoder is None and not now.card.free_text:
        return None
    from t2c_search.concepts.describe.folder import read_card
    from t2c_search.concepts.describe.sentences import load_describer

    if decoder is None:
        decoder = mini.path("decoder")
        if read_card(decoder).clip.difference(now.card.clip):
            return None
    elif not now.card.free_text:
        raise UsageError(
            "the collection's text side knows the names of its vocabulary alone: sentences have no vectors there"
        )
    describer, centre = load_describer(decoder, now.card.clip), now.searcher().calibration.mean.astype(np.float32)
    return lambda points: describer.describe(points, centre, now.models.embed_texts)


def _given(captions: str | Path | Iterable[str]) -> Iterator[str]:
    if isinstance(captions, str | Path):
        return read_captions(Path(captions), Remarks())
    return filter(None, (caption.strip() for caption in captions))


def _embed(tower: TextEncoder, texts: list[str], progress: Progress) -> torch.Tensor:
    """Embed texts to unit rows (n, d) on the model's device."""
    import torch

    progress.start(len(texts), "embedding the captions")
    parts = []
    for start in range(0, len(texts), _BATCH):
        parts.append(tower.encode_texts(texts[start : start + _BATCH]))
        progress.advance(len(parts[-1]))
    return torch.cat(parts) if parts else torch.empty(0, tower.text_dim)
