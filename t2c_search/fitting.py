"""Fit an aligner on images: both models look at a sample of them, and a linear map is fitted between the two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2c_search.alignment.vocabulary import concept_vocabulary
from t2c_search.encoders.protocols import TextEncoder
from t2c_search.indexing.embedding import EmbeddedBatch, decode_size, embed
from t2c_search.indexing.report import NoProgress, Progress
from t2c_search.models import encoder_ref
from t2c_search.types import Failure

if TYPE_CHECKING:
    import torch

    from t2c_search.alignment.aligner import Aligner
    from t2c_search.encoders.protocols import ImageEncoder
    from t2c_search.indexing.sources import ImageInput


_KEPT_BYTES = 128 << 20  # of the sample's vectors, on the model's device: 16,000 images at 2048-d


@dataclass(frozen=True, slots=True)
class Batching:
    """Images per forward pass, and threads that decode (None: as many as processors)."""

    batch_size: int
    workers: int | None


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


def fit_on_images(
    inputs: Sequence[ImageInput],
    backbone: ImageEncoder,
    clip: ImageEncoder,
    *,
    pairs: int,
    criterion: str,
    batching: Batching,
    progress: Progress | None = None,
) -> Fitted:
    """Embed a sample of the images with both models, decoding each once, and fit the map (n, d_backbone) -> (n, d_clip).

    The sample is uniform and the same every time: the ``pairs`` images with the lowest ids, which are hashes. It is read
    in the order of the inputs, archives from front to back.
    Raises AlignmentError when some, but too few, of the images can be read.
    """
    from t2c_search.alignment.fit import fit_aligner

    chosen = sorted(range(len(inputs)), key=lambda index: inputs[index].id)[:pairs]
    sample = [inputs[index] for index in sorted(chosen)]
    shown = progress or NoProgress()
    shown.start(len(sample), "fitting the aligner")
    failures: list[Failure] = []
    kept: list[EmbeddedBatch] = []
    keep = 4 * len(sample) * backbone.image_dim <= _KEPT_BYTES and _looks_alone(backbone, clip)

    def fail(failure: Failure) -> None:
        failures.append(failure)
        shown.fail(failure)
        shown.advance(1)

    def embedded() -> Iterator[tuple[list[str], torch.Tensor, torch.Tensor]]:
        for batch in embed(
            sample, (backbone, clip), batch_size=batching.batch_size, workers=batching.workers, on_failure=fail
        ):
            shown.advance(len(batch.records))
            if keep:
                kept.append(EmbeddedBatch(batch.records, batch.vectors[:1]))
            yield [record.id for record in batch.records], batch.vectors[0], batch.vectors[1]

    batches = embedded()
    first = next(batches, None)
    if first is None:
        return Fitted(None, tuple(failures))

    def all_batches() -> Iterator[tuple[list[str], torch.Tensor, torch.Tensor]]:
        yield first
        yield from batches

    aligner, _ = fit_aligner(
        all_batches(),
        backbone=encoder_ref(backbone),
        clip=encoder_ref(clip),
        criterion=criterion,
        concepts=_concept_vectors(clip),
    )
    return Fitted(aligner, tuple(failures), kept)


def _looks_alone(backbone: ImageEncoder, clip: ImageEncoder) -> bool:
    """Tell whether the backbone sees the images as it does alone: not decoded larger for the CLIP model's sake."""
    return decode_size((backbone, clip)) == backbone.decode_size


def _concept_vectors(clip: ImageEncoder) -> torch.Tensor | None:
    """Embed the concepts that the fit's criterion speaks of, (v, d_clip); None when the CLIP model has no text side."""
    if not isinstance(clip, TextEncoder):
        return None
    return clip.encode_texts(clip.vocabulary or concept_vocabulary(clip.id))
