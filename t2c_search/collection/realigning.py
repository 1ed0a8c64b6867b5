"""Carry a collection into another CLIP space: the backbone's kept vectors are projected anew, no image is opened."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2c_search.collection.fitting import fit
from t2c_search.collection.models import ModelSelection, trusted
from t2c_search.collection.search_index import forget_build
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.errors import StoreAccessError, StoreError, UsageError
from t2c_search.progress import NoProgress, Progress
from t2c_search.state.aligner import ALIGNER
from t2c_search.state.bottlenecks import BOTTLENECKS
from t2c_search.state.card import CARD, FORMAT_VERSION, CollectionCard
from t2c_search.state.concepts import CONCEPTS
from t2c_search.state.statistics import CLAIMS, repair_statistics, store_statistics
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, NATIVE

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner
    from t2c_search.alignment.report import FitReport


@dataclass(frozen=True, slots=True)
class RealignReport:
    """What a realignment did: images projected anew, into which CLIP model's space, and how good the new aligner is.

    ``dropped_concepts`` were directions in the former CLIP model's space, and mean nothing in the new one's;
    ``dropped_bottlenecks`` weighed the former vectors.
    """

    images: int
    seconds: float
    clip: str
    dropped_concepts: tuple[str, ...]
    dropped_bottlenecks: tuple[str, ...]
    fit: FitReport

    def to_json(self) -> dict[str, Any]:
        """Return the report as ``t2c realign --json`` prints it."""
        return {
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "clip": self.clip,
            "dropped_concepts": list(self.dropped_concepts),
            "dropped_bottlenecks": list(self.dropped_bottlenecks),
            "aligner": self.fit.to_json(),
        }


def check_native(card: CollectionCard, name: str) -> None:
    """Raise UsageError unless the collection keeps its backbone's own vectors."""
    if not card.native:
        raise UsageError(
            f"collection {name!r} does not keep its backbone's own vectors, so it cannot be realigned; index the images "
            "under another name with --native, which keeps them from then on"
        )


class _GivenUp(Exception):  # noqa: N818 - it is how a trial ends well
    """Ends a replacement that was begun to see whether it can be."""


def check_replaceable(store: VectorStore) -> None:
    """Begin a replacement and give it up, before hours go into one. Raises StoreAccessError when it cannot be made."""
    try:
        with suppress(_GivenUp), store.replacement(store.spec()):
            raise _GivenUp
    except StoreAccessError as exc:
        raise StoreAccessError(
            f"collection {store.collection!r} cannot be realigned, as its successor, of the same name with ~ and eight more "
            f"characters, cannot be made beside it ({exc}): use a key or a user that may create and delete it"
        ) from exc


@dataclass(frozen=True, slots=True)
class AlignerSource:
    """Where a new aligner comes from: its file, or images to fit one on, of which ``pairs`` are used."""

    file: str | Path | None
    images: Sequence[str | Path]
    pairs: int | None


def choose_aligner(
    source: AlignerSource, card: CollectionCard, choice: ModelSelection, progress: Progress | None
) -> Aligner:
    """Load an aligner from its file, or fit one on images. Raises UsageError unless one of the two is given."""
    from t2c_search.alignment.aligner import Aligner

    if (source.file is None) == (not source.images):
        raise UsageError(
            "give one of the two: an aligner's file, made by t2c fit (--aligner), or images to fit one on (--fit-images)"
        )
    if source.file is not None:
        return Aligner.load(source.file)
    return fit(
        source.images,
        backbone=choice.backbone or trusted(card.backbone.id, "--backbone"),
        clip=choice.clip or trusted(card.clip.id, "--clip"),
        pairs=source.pairs,
        device=choice.device,
        dtype=choice.dtype,
        compile=choice.compile,
        pool=choice.pool,
        progress=progress,
    )


def realign(
    store: VectorStore, aligner: Aligner, *, choice: ModelSelection, progress: Progress | None = None
) -> RealignReport:
    """Replace a collection's CLIP vectors by its native ones projected by the aligner.

    Card, aligner, statistics and concepts switch with the vectors in one step: searches see the former collection until
    then, and after a failure. Raises AlignerMismatchError for an aligner of another backbone, or of another CLIP model than
    the one chosen; StoreError when an indexer is at work, or changed the collection meanwhile.
    """
    started = time.perf_counter()
    if not store.capabilities.concurrent:  # who claimed the statistics was killed: nobody else has the collection open
        repair_statistics(store)
    former = store.pinned()
    card = CARD.read(former)
    assert card is not None  # it is written last
    renewed = _renewed(card, aligner, choice)
    vectors = {**former.spec().vectors, CLIP: replace(former.spec().vectors[CLIP], dim=renewed.clip.dim)}
    same_space = renewed.clip.difference(card.clip) is None
    with store.replacement(replace(former.spec(), vectors=vectors)) as new:
        _check_idle(store)
        dropped = () if same_space else tuple(CONCEPTS.now(store))
        bottlenecks = tuple(BOTTLENECKS.now(store))
        statistics = _project(former, new, aligner, progress or NoProgress())
        store_statistics(new, statistics)
        new.write_blob(ALIGNER, aligner.to_bytes())
        if not same_space:
            CONCEPTS.write(new, {})
        BOTTLENECKS.write(new, {})  # they weigh the former vectors
        forget_build(new)
        CARD.write(new, renewed)
    return RealignReport(
        statistics.count, time.perf_counter() - started, renewed.clip.id, dropped, bottlenecks, aligner.report
    )


def _check_idle(store: VectorStore) -> None:
    """Raise StoreError while an indexer is at work; the replacement is refused when one begins from now on."""
    if CLAIMS.now(store).open:
        raise StoreError(
            f"collection {store.collection!r} is being indexed into, or the run that did was killed, so it was left as it is: "
            "realign it once that has ended; t2c retry completes what was killed"
        )


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
    return card.model_copy(
        update={"format_version": FORMAT_VERSION, "clip": ref, "text": choice.text, "free_text": free_text}
    )


def _project(former: VectorStore, new: VectorStore, aligner: Aligner, shown: Progress) -> VectorStatistics:
    """Fill the new collection from the former one's native vectors, all others beside them; return its statistics."""
    import torch

    shown.start(former.count(), "realigning")
    statistics = VectorStatistics(new.spec().dims[CLIP])
    kept = tuple(name for name in new.spec().vectors if name != CLIP)
    for points in former.scan(vectors=kept):
        rows = aligner(torch.from_numpy(points.vectors[NATIVE])).numpy()
        new.upsert(replace(points, vectors={**points.vectors, CLIP: rows}))
        statistics.add(points.ids, rows)
        shown.advance(len(points))
    if former.count() != statistics.count:
        raise StoreError(
            f"images were added to collection {former.collection!r} or removed from it while it was realigned, so it was "
            "left as it is; realign it again when nobody indexes into it"
        )
    return statistics
