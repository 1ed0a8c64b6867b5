"""Make a collection, of models, aligner and store; and see that one which is there is what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from t2c_search.collection.fitting import Batching, Fitted, fit_on_images
from t2c_search.collection.models import Models, ModelSelection, encoder_ref
from t2c_search.decoding.metadata import PAYLOAD_INDEXES
from t2c_search.errors import CollectionFormatError, StoreError, UsageError
from t2c_search.indexing.ray.cluster import Cluster
from t2c_search.indexing.ray.distributed import embed_pairs_on_ray
from t2c_search.profile import FIT, LOAD, StageClock
from t2c_search.progress import Progress
from t2c_search.settings import Settings, load_settings
from t2c_search.state.aligner import ALIGNER, read_aligner
from t2c_search.state.card import CARD, CollectionCard
from t2c_search.stores.protocol import CollectionSpec, FieldType, Quantization, VectorStore
from t2c_search.types import CLIP, NATIVE

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner
    from t2c_search.encoders.protocols import ImageEncoder
    from t2c_search.indexing.pairs import SummedPairs
    from t2c_search.sources import ImageInput

HELD_WHOLE = 1_000_000
"""Images in a collection's first run up to which its vectors are held whole, unless the user says otherwise.

A million at 512-d take 2.9 GiB of memory so, and 1.7 GiB as int8, found as well (``benchmarks.quantization``).
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a collection, beside its models; None: what it has, or what a new one has by default."""

    fields: Mapping[str, FieldType]
    native: bool | None = None
    quantization: Quantization | None = None
    aligner: str | Path | None = None
    """A file."""


@dataclass(frozen=True, slots=True)
class Made:
    """Whether the collection is there, which it is not where not one image can be read; and how its aligner came."""

    is_there: bool
    fitted: Fitted


def make(
    store: VectorStore,
    choice: ModelSelection,
    asked: Asked,
    inputs: Sequence[ImageInput],
    *,
    pairs: int,
    batching: Batching,
    cluster: Cluster | None,
    progress: Progress | None,
    clock: StageClock,
) -> Made:
    """Make the collection: models, aligner, store, and last the card, whose absence marks an unfinished one.

    Without an aligner's file, one is fitted on so many ``pairs`` of the images, which a Ray ``cluster`` embeds, or this
    process. A collection that another process made meanwhile is taken, if it agrees. Raises UsageError, AlignerMismatchError
    or AlignmentError for an aligner that cannot be used or fitted, CollectionFormatError where something stands that is no
    collection of ours, StoreError where another process makes one at this moment.
    """
    if progress is not None:
        progress.start(None, "loading the models")
    with clock.measure(LOAD):
        clip, backbone = choice.load_pair(load_settings())
    card = CollectionCard(
        made_by=f"t2c-search {version('t2c-search')}",
        clip=encoder_ref(clip),
        backbone=encoder_ref(backbone),
        text=choice.text,
        free_text=choice.text is not None or getattr(clip, "vocabulary", None) is None,
        native=bool(asked.native),
    )
    fitted = Fitted(None if asked.aligner is None else _load_aligner(asked.aligner, card))
    if card.aligned and fitted.aligner is None:
        named = replace(choice, clip=clip.id, backbone=backbone.id)
        with clock.measure(FIT):
            fitted = fit_on_images(
                inputs,
                backbone,
                clip,
                pairs=pairs,
                criterion="auto",
                batching=batching,
                elsewhere=None if cluster is None else _pairs_on_ray(named, card, batching, cluster, clock),
                progress=progress,
                clock=clock,
            )
        if fitted.all_failed:
            return Made(False, fitted)
    if store.exists():
        if (made := _made_meanwhile(store, choice, asked)) is not None:
            return made
        _drop_unfinished(store)
    vectors = {CLIP: card.clip.dim} | ({NATIVE: card.backbone.dim} if card.native else {})
    try:
        quantization = asked.quantization or ("int8" if len(inputs) > HELD_WHOLE else "none")
        store.create(CollectionSpec.of(vectors, {**PAYLOAD_INDEXES, **asked.fields}, quantization))
    except StoreError:
        if not store.exists() or (made := _made_meanwhile(store, choice, asked)) is None:
            raise
        return made
    if fitted.aligner is not None:
        store.write_blob(ALIGNER, fitted.aligner.to_bytes())
    CARD.write(store, card)
    return Made(True, fitted)


def _made_meanwhile(store: VectorStore, choice: ModelSelection, asked: Asked) -> Made | None:
    """Return the collection that another process made, if it agrees; None while it has no card."""
    if (card := CARD.read(store)) is None:
        return None
    models = Models(card, choice, partial(read_aligner, store))
    agree(store, models, asked)
    return Made(True, Fitted(None))


def _pairs_on_ray(
    choice: ModelSelection, card: CollectionCard, batching: Batching, cluster: Cluster, clock: StageClock
) -> Callable[[Sequence[ImageInput], bool], Generator[SummedPairs, None, None]]:
    """Return what embeds a sample on Ray, whose workers load both models for themselves."""
    return partial(
        embed_pairs_on_ray,
        load_models=partial(_load_backbone_and_clip, choice, load_settings()),
        refs=(card.backbone, card.clip),
        cluster=cluster,
        clock=clock,
        batch_size=batching.batch_size,
    )


def _load_backbone_and_clip(choice: ModelSelection, settings: Settings) -> tuple[ImageEncoder, ImageEncoder]:
    clip, backbone = choice.load_pair(settings)
    return backbone, clip


def agree(store: VectorStore, models: Models, asked: Asked) -> None:
    """Check that a collection is what is asked for, and index the fields that it has no index for yet.

    Raises UsageError when it was made with another model, aligner, quantization or type of a field, or without native
    vectors.
    """
    name, spec = store.collection, store.spec()
    models.check_choice()
    if asked.native not in (None, models.card.native):
        keeps = "keeps" if models.card.native else "does not keep"
        raise UsageError(
            f"collection {name!r} {keeps} its backbone's own vectors, which is settled when a collection is made: "
            "leave --native as it was, or index under another name"
        )
    if asked.quantization not in (None, spec.quantization):
        raise UsageError(
            f"collection {name!r} was made with quantization {spec.quantization!r}, not {asked.quantization!r}: leave "
            "--quantization out, or index under another name"
        )
    if asked.aligner and _load_aligner(asked.aligner, models.card).to_bytes() != store.read_blob(ALIGNER):
        raise UsageError(
            f"collection {name!r} has another aligner than {str(asked.aligner)!r}: leave --aligner out, change the "
            "collection's with t2c realign if it was made with --native, or index under another name"
        )
    for field, kind in asked.fields.items():
        if (own := spec.indexes.get(field, kind)) != kind:
            raise UsageError(
                f"field {field!r} of collection {name!r} is of type {own}, not {kind}: leave the type out, or index under "
                "another name"
            )
    if new := {field: kind for field, kind in asked.fields.items() if field not in spec.indexes}:
        store.add_indexes(new)


def _drop_unfinished(store: VectorStore) -> None:
    """Drop a collection whose making was interrupted. Raises CollectionFormatError when it holds points: not ours."""
    if store.count():
        raise CollectionFormatError(
            f"collection {store.collection!r} in {store.location} holds points but was not made by t2c_search; "
            "choose another collection name"
        )
    store.drop()


def _load_aligner(file: str | Path, card: CollectionCard) -> Aligner:
    """Load an aligner fitted for the card's models. Raises AlignerMismatchError, or UsageError where none is needed."""
    from t2c_search.alignment.aligner import Aligner

    if not card.aligned:
        raise UsageError(
            f"{card.backbone.id!r} is the CLIP model itself: leave --aligner out, or name another --backbone"
        )
    aligner = Aligner.load(file)
    aligner.check(card.backbone, card.clip)
    return aligner
