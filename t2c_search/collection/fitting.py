"""Fit an aligner on images: both models look at a sample of them, and a linear map is fitted between the two."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from heapq import nsmallest
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Self

from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.collection.models import ModelSelection, encoder_ref
from t2c_search.encoders.pool import ModelPool, default_pool
from t2c_search.encoders.protocols import TextEncoder
from t2c_search.errors import AlignmentError, UsageError
from t2c_search.indexing.embedding import EmbeddedBatch, decode_size
from t2c_search.indexing.pairs import PairModels, SummedPairs, sum_pairs
from t2c_search.profile import StageClock
from t2c_search.progress import NoProgress, Progress
from t2c_search.settings import Device, Dtype, load_settings
from t2c_search.sources import require_images
from t2c_search.types import Failure

if TYPE_CHECKING:
    import torch

    from t2c_search.alignment.aligner import Aligner
    from t2c_search.encoders.protocols import ImageEncoder
    from t2c_search.sources import ImageInput


_KEPT_BYTES = 128 << 20  # of the sample's vectors, on the model's device: 16,000 images at 2048-d


@dataclass(frozen=True, slots=True)
class Batching:
    """Images per forward pass (None: what fits the memory), and threads that decode (None: as many as processors)."""

    batch_size: int | None
    workers: int | None

    @classmethod
    def chosen(cls, batch_size: int | None, workers: int | None) -> Self:
        """Return what was given, and for the rest the settings'."""
        settings = load_settings()
        return cls(batch_size or settings.batch_size, workers or settings.workers)


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

    Raises UsageError when backbone and CLIP model are the same, AlignmentError when too few images can be read.
    """
    settings = load_settings()
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
    clip_model, backbone_model = choice.load_pair(settings)
    if backbone_model is clip_model:
        raise UsageError(f"{backbone!r} is the CLIP model itself: its vectors need no aligner")
    fitted = fit_on_images(
        inputs,
        backbone_model,
        clip_model,
        pairs=pairs or settings.fit_pairs,
        criterion=criterion,
        batching=Batching.chosen(batch_size, workers),
        progress=progress,
    )
    if fitted.aligner is None:
        raise AlignmentError(
            f"none of {len(fitted.failures)} images can be read; the first, {fitted.failures[0].path}: "
            f"{fitted.failures[0].reason}"
        )
    return fitted.aligner


def fit_on_images(
    inputs: Sequence[ImageInput],
    backbone: ImageEncoder,
    clip: ImageEncoder,
    *,
    pairs: int,
    criterion: str,
    batching: Batching,
    elsewhere: Callable[[Sequence[ImageInput], bool], Generator[SummedPairs, None, None]] | None = None,
    progress: Progress | None = None,
    clock: StageClock | None = None,
) -> Fitted:
    """Embed a sample of the images with both models, decoding each once, and fit the map (n, d_backbone) -> (n, d_clip).

    The sample is uniform and the same every time: the ``pairs`` images with the lowest ids, which are hashes. It is read
    in the order of the inputs, archives from front to back. ``elsewhere``, where given, embeds it with the backbone and
    the CLIP model, and no image goes through them here; it is told whether the backbone's rows are to be kept. The
    aligner does not depend on it. Raises AlignmentError when some, but too few, of the images can be read.
    """
    from t2c_search.alignment.fit import choose_criterion, fit_split
    from t2c_search.alignment.held_out import PairSplit

    started, clock = time.perf_counter(), clock or StageClock()
    refs = (encoder_ref(backbone), encoder_ref(clip))
    choose_criterion(criterion, has_texts=isinstance(clip, TextEncoder), clip=refs[1])  # before what takes long
    chosen = nsmallest(pairs, ((item.id, place, item) for place, item in enumerate(inputs)))
    sample = [item for _, _, item in sorted(chosen, key=itemgetter(1))]
    shown = progress or NoProgress()
    shown.start(len(sample), "fitting the aligner")
    keep = 4 * len(sample) * backbone.image_dim <= _KEPT_BYTES and _looks_alone(backbone, clip)
    if elsewhere is not None:
        parts = elsewhere(sample, keep)
    else:
        models, among = PairModels((backbone, clip), refs), len(sample)
        parts = sum_pairs(sample, models, among=among, keep=keep, clock=clock, **asdict(batching))
    summed = SummedPairs(PairSplit(len(sample)))
    with closing(parts):
        for part in parts:
            summed.merge(part, backbone.device)
            clock.add_of_worker(part.seconds)
            for failure in part.failures:
                shown.fail(failure)
            shown.advance(part.split.count + len(part.failures))
    if not summed.split.count:
        return Fitted(None, tuple(summed.failures))
    aligner, _ = fit_split(
        summed.split,
        backbone=refs[0],
        clip=refs[1],
        criterion=criterion,
        concepts=_concept_vectors(clip),
        started=started,
    )
    return Fitted(aligner, tuple(summed.failures), summed.kept)


def _looks_alone(backbone: ImageEncoder, clip: ImageEncoder) -> bool:
    """Tell whether the backbone sees the images as it does alone: not decoded larger for the CLIP model's sake."""
    return decode_size((backbone, clip)) == decode_size((backbone,))


def _concept_vectors(clip: ImageEncoder) -> torch.Tensor | None:
    """Embed the concepts that the fit's criterion speaks of, (v, d_clip); None when the CLIP model has no text side."""
    if not isinstance(clip, TextEncoder):
        return None
    return clip.encode_texts(clip.vocabulary or concept_vocabulary(clip.id))
