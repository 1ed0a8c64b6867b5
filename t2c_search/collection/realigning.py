"""Carry a collection into another CLIP space: the backbone's kept vectors are projected anew, no image is opened."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2c_search.collection.fitting import fit
from t2c_search.collection.models import ModelSelection, trusted
from t2c_search.collection.search_index import forget_build
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.errors import StoreError, UsageError
from t2c_search.progress import NoProgress, Progress
from t2c_search.state.card import ALIGNER_BLOB, CONCEPTS_BLOB, CollectionCard, write_card
from t2c_search.state.concepts import SavedConcept, dump_concepts
from t2c_search.state.statistics import mark_dirty, save_statistics
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.protocol import VectorSpec, VectorStore
from t2c_search.types import CLIP, NATIVE, Points

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner
    from t2c_search.alignment.report import FitReport


@dataclass(frozen=True, slots=True)
class RealignReport:
    """What a realignment did: images projected anew, into which CLIP model's space, and how good the new aligner is.

    ``dropped_concepts`` were directions in the former CLIP model's space, and mean nothing in the new one's.
    """

    images: int
    seconds: float
    clip: str
    dropped_concepts: tuple[str, ...]
    fit: FitReport

    def to_json(self) -> dict[str, Any]:
        """Return the report as ``t2c realign --json`` prints it."""
        return {
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "clip": self.clip,
            "dropped_concepts": list(self.dropped_concepts),
            "aligner": self.fit.to_json(),
        }


def check_native(card: CollectionCard, name: str) -> None:
    """Raise UsageError unless the collection keeps its backbone's own vectors."""
    if not card.native:
        raise UsageError(
            f"collection {name!r} does not keep its backbone's own vectors, so it cannot be realigned; index the images "
            "under another name with --native, which keeps them from then on"
        )


def choose_aligner(
    file: str | Path | None,
    images: Sequence[str | Path],
    card: CollectionCard,
    choice: ModelSelection,
    *,
    pairs: int | None,
    progress: Progress | None,
) -> Aligner:
    """Load an aligner from its file, or fit one on images. Raises UsageError unless one of the two is given."""
    from t2c_search.alignment.aligner import Aligner

    if (file is None) == (not images):
        raise UsageError(
            "give one of the two: an aligner's file, made by t2c fit (--aligner), or images to fit one on (--fit-images)"
        )
    if file is not None:
        return Aligner.load(file)
    return fit(
        images,
        backbone=choice.backbone or trusted(card.backbone.id, "--backbone"),
        clip=choice.clip or trusted(card.clip.id, "--clip"),
        pairs=pairs,
        device=choice.device,
        dtype=choice.dtype,
        compile=choice.compile,
        pool=choice.pool,
        progress=progress,
    )


def realign(
    store: VectorStore,
    card: CollectionCard,
    aligner: Aligner,
    *,
    choice: ModelSelection,
    concepts: Mapping[str, SavedConcept],
    progress: Progress | None = None,
) -> tuple[CollectionCard, RealignReport]:
    """Replace a collection's CLIP vectors by its native ones projected by the aligner; return its new card.

    Card, aligner, statistics and concepts switch with the vectors in one step: searches see the former collection until
    then, and after a failure. Raises AlignerMismatchError for an aligner of another backbone, or of another CLIP model than
    the one chosen; StoreError when images were added or removed meanwhile.
    """
    started = time.perf_counter()
    renewed = _renewed(card, aligner, choice)
    same_space = renewed.clip.difference(card.clip) is None
    blobs = {ALIGNER_BLOB: aligner.to_bytes()} | ({} if same_space else {CONCEPTS_BLOB: dump_concepts({})})
    spec = store.spec()
    with store.replacement(replace(spec, vectors={**spec.vectors, CLIP: VectorSpec(renewed.clip.dim)})) as new:
        images = _project(store, new, aligner, progress or NoProgress())
        for key, content in blobs.items():
            new.write_blob(key, content)
        forget_build(new)
        write_card(new, renewed)
    dropped = () if same_space else tuple(concepts)
    return renewed, RealignReport(images, time.perf_counter() - started, renewed.clip.id, dropped, aligner.report)


def _renewed(card: CollectionCard, aligner: Aligner, choice: ModelSelection) -> CollectionCard:
    """Return the card of the aligned collection. Loads the CLIP model where it is another one, or was named."""
    if choice.clip is None and aligner.clip.difference(card.clip) is None:
        aligner.check(card.backbone, card.clip)
        return card
    clip = choice.load_clip(choice.clip or trusted(aligner.clip.id, "--clip"))
    ref = encoder_ref(clip)
    aligner.check(card.backbone, ref)
    if ref.difference(card.clip) is None:
        return card
    free_text = choice.text is not None or getattr(clip, "vocabulary", None) is None
    return card.model_copy(update={"clip": ref, "text": choice.text, "free_text": free_text})


def _project(store: VectorStore, new: VectorStore, aligner: Aligner, shown: Progress) -> int:
    """Fill the new collection from the store's native vectors, statistics included; return the number of points."""
    import torch

    shown.start(store.count(), "realigning")
    statistics = VectorStatistics(new.spec().dims[CLIP])
    for points in store.scan(vectors=(NATIVE,)):
        native = points.vectors[NATIVE]
        rows = aligner(torch.from_numpy(native)).numpy()
        new.upsert(Points(points.ids, points.payloads, {CLIP: rows, NATIVE: native}))
        statistics.add(points.ids, rows)
        shown.advance(len(points))
    if store.count() != statistics.count:
        raise StoreError(
            f"images were added to collection {store.collection!r} or removed from it while it was realigned, so it was "
            "left as it is; realign it again when nobody indexes into it"
        )
    save_statistics(new, statistics, mark_dirty(new))
    return statistics.count
