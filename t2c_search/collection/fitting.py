"""Fit an aligner on images: both models look at a sample of them, and a linear map is fitted between the two."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from heapq import nsmallest
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.collection.models import ModelSelection
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.encoders.pool import ModelPool, default_pool
from t2c_search.encoders.protocols import TextEncoder, needs_pixels
from t2c_search.errors import AlignmentError, UsageError
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedder import Embedder, LocalEmbedder
from t2c_search.indexing.embedding import EmbeddedBatch, decode_size
from t2c_search.indexing.pairs import PairModels, SummedPairs
from t2c_search.progress import Monitor, NoProgress, Progress
from t2c_search.settings import Device, Dtype, Settings, load_settings
from t2c_search.sources import require_images
from t2c_search.types import Failure

if TYPE_CHECKING:
    import torch

    from t2c_search.alignment.aligner import Aligner
    from t2c_search.encoders.protocols import ImageEncoder
    from t2c_search.sources import ImageInput


_KEPT_BYTES = 128 << 20  # of the sample's vectors, on the model's device: 16,000 images at 2048-d


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted aligner, or None where none is needed or not one image could be read, and the images that could not.

    ``embedded`` holds what the backbone made of the sample, so that indexing need not embed it once more; it is empty
    where that would be too much to hold, or not what the backbone makes of the images alone.
    """

    aligner: Aligner | None
    failures: tuple[Failure, ...] = ()
    embedded: Sequence[EmbeddedBatch] = ()

    @property
    def all_failed(self) -> bool:
        """Whether not one image could be read."""
        return self.aligner is None and bool(self.failures)


def fit(
    images: str | Path | Iterable[str | Path],
    *,
    backbone: str,
    clip: str | None = None,
    onto: str | None = None,
    pairs: int | None = None,
    criterion: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    device: Device | None = None,
    dtype: Dtype | None = None,
    compile: bool | None = None,
    pool: ModelPool | None = None,
    progress: Progress | None = None,
) -> Aligner:
    """Fit an aligner on a sample of images, to save and to use for many collections; its ``report`` says how good it is.

    It maps the backbone's space to that of a CLIP model, for ``Collection.index``; or, with ``onto``, to that of any other
    encoder of images, texts or none: ``open_collection(through=...)`` then asks a collection of that one by images that the
    backbone looks at (Text-to-Concept, arXiv 2305.06386: any model's features are carried linearly onto any other's).

    Raises UsageError when both models are the same, or both ``clip`` and ``onto`` are given, AlignmentError when too few
    images can be read.
    """
    settings = load_settings()
    if onto is not None and clip is not None:
        raise UsageError("give one of the two: a CLIP model (clip), or any other encoder of images (onto)")
    choice = ModelSelection(
        clip or settings.clip,
        backbone,
        None,
        device or settings.device,
        dtype or settings.dtype,
        settings.compile if compile is None else compile,
        pool or default_pool(),
    )
    inputs = require_images(images, progress=progress)
    models = load_pair(choice, settings) if onto is None else _load_onto(choice, onto)
    if models.backbone is models.clip:
        itself = "the CLIP model" if onto is None else "the model to carry it onto"
        raise UsageError(f"{backbone!r} is {itself} itself: its vectors need no aligner")
    fitted = fit_on_images(
        choose_sample(inputs, pairs or settings.fit_pairs),
        models,
        LocalEmbedder(Batching.chosen(batch_size, workers)),
        criterion=criterion,
        monitor=Monitor(progress or NoProgress()),
    )
    if fitted.aligner is None:
        raise AlignmentError(
            f"none of {len(fitted.failures)} images can be read; the first, {fitted.failures[0].path}: "
            f"{fitted.failures[0].reason}"
        )
    return fitted.aligner


def load_pair(choice: ModelSelection, settings: Settings) -> PairModels:
    """Load the backbone and the CLIP model for a new aligner; the same object twice when they are the same."""
    clip, backbone = choice.load_pair(settings)
    named = replace(choice, clip=clip.id, backbone=backbone.id)
    return PairModels(backbone, clip, partial(_load_pair, named, settings))


def explained(models: PairModels) -> PairModels:
    """Return a pair whose backbone tells the factors of its rows. Raises UsageError where they cannot be taken apart."""
    from t2c_search.attribution.explained import Explained, method_for_all

    method = method_for_all(models.backbone)
    return PairModels(Explained(models.backbone, method), models.clip, partial(_load_explained, models.load, method))


def _load_explained(
    load: Callable[[], tuple[ImageEncoder, ImageEncoder]], method: str
) -> tuple[ImageEncoder, ImageEncoder]:
    from t2c_search.attribution.explained import Explained

    backbone, clip = load()
    return Explained(backbone, method), clip


def _load_pair(choice: ModelSelection, settings: Settings) -> tuple[ImageEncoder, ImageEncoder]:
    clip, backbone = choice.load_pair(settings)
    return backbone, clip


def _load_onto(choice: ModelSelection, onto: str) -> PairModels:
    """Load the backbone and any other encoder of images, in the CLIP model's place."""
    load = partial(_load_both, choice, onto)
    return PairModels(*load(), load)


def _load_both(choice: ModelSelection, onto: str) -> tuple[ImageEncoder, ImageEncoder]:
    assert choice.backbone is not None
    return choice.load_backbone(choice.backbone), choice.load_backbone(onto)


def choose_sample(inputs: Iterable[ImageInput], pairs: int) -> list[ImageInput]:
    """Return the images to fit on: a uniform sample, the same every time, of those with the lowest ids, which are hashes.

    They come in the order of the inputs: archives are read from front to back.
    """
    chosen = nsmallest(pairs, ((item.id, number, item) for number, item in enumerate(inputs)))
    return [item for _, _, item in sorted(chosen, key=itemgetter(1))]


def fit_on_images(
    sample: Sequence[ImageInput],
    models: PairModels,
    embedder: Embedder,
    *,
    criterion: str = "auto",
    monitor: Monitor | None = None,
) -> Fitted:
    """Embed a sample with both models, decoding each image once, and fit the map (n, d_backbone) -> (n, d_clip).

    The aligner does not depend on the ``embedder``. Raises AlignmentError when some, but too few, of the images can be read.
    """
    from t2c_search.alignment.fit import FitRecipe, choose_criterion, fit_split

    started, monitor = time.perf_counter(), monitor or Monitor()
    backbone, clip = encoder_ref(models.backbone), encoder_ref(models.clip)
    choose_criterion(criterion, has_texts=isinstance(models.clip, TextEncoder), clip=clip)  # before what takes long
    summed = _sum_up(sample, models, embedder, monitor)
    if not summed.split.count:
        return Fitted(None, tuple(summed.failures))
    aligner, _ = fit_split(
        summed.split,
        backbone=backbone,
        clip=clip,
        recipe=FitRecipe(criterion, _concept_vectors(models.clip)),
        started=started,
    )
    return Fitted(aligner, tuple(summed.failures), summed.kept)


def _sum_up(sample: Sequence[ImageInput], models: PairModels, embedder: Embedder, monitor: Monitor) -> SummedPairs:
    """Embed a sample with both models, and merge what became of its parts."""
    from t2c_search.alignment.held_out import PairSplit

    progress, clock = monitor.progress, monitor.clock
    progress.start(len(sample), "fitting the aligner")
    rows = 1 + getattr(models.backbone, "places", 0) / 2  # factors are kept as halves
    keep = 4 * len(sample) * models.backbone.image_dim * rows <= _KEPT_BYTES and _looks_alone(models)
    summed = SummedPairs(PairSplit(len(sample)))
    with closing(embedder.sum_pairs(sample, models, keep=keep, clock=clock)) as parts:
        for part in parts:
            summed.merge(part, models.backbone.device)
            clock.add_of_worker(part.seconds)
            for failure in part.failures:
                progress.fail(failure)
            progress.advance(part.split.count + len(part.failures))
    return summed


def _looks_alone(models: PairModels) -> bool:
    """Tell whether the backbone sees the images as it does alone: not decoded larger for the CLIP model's sake."""
    if not needs_pixels(models.backbone):
        return True
    return decode_size((models.backbone, models.clip)) == models.backbone.decode_size


def _concept_vectors(clip: ImageEncoder) -> torch.Tensor | None:
    """Embed the concepts that the fit's criterion speaks of, (v, d_clip); None when the CLIP model has no text side."""
    if not isinstance(clip, TextEncoder):
        return None
    return clip.encode_texts(clip.vocabulary or concept_vocabulary(clip.id))
