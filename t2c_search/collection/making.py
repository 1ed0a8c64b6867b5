"""Make a collection, of models, aligner and store; and see that one which is there is what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from t2c_search.attribution.stored import KEPT_AS
from t2c_search.collection.fitting import Fitted, choose_sample, explained, fit_on_images, load_pair
from t2c_search.collection.models import Models, ModelSelection
from t2c_search.decoding.metadata import PAYLOAD_INDEXES
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.errors import CollectionFormatError, StoreError, UsageError
from t2c_search.indexing.embedder import Embedder
from t2c_search.indexing.pairs import PairModels
from t2c_search.profile import FIT, LOAD
from t2c_search.progress import Monitor
from t2c_search.settings import load_settings
from t2c_search.state.aligner import ALIGNER, read_aligner
from t2c_search.state.card import CARD, FORMAT_VERSION, CollectionCard
from t2c_search.stores.protocol import CollectionSpec, FieldType, Quantization, VectorStore
from t2c_search.types import CLIP, FACTORS, NATIVE

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner
    from t2c_search.sources import ImageInput

HELD_WHOLE = 1_000_000
"""Images in a collection's first run up to which its vectors are held whole, unless the user says otherwise.

A million at 512-d take 2.9 GiB of memory so, and 1.7 GiB as int8, found as well (``benchmarks.quantization``).
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a collection; None: what it has, or what a new one has by default."""

    models: ModelSelection
    fields: Mapping[str, FieldType]
    native: bool | None = None
    quantization: Quantization | None = None
    aligner: str | Path | None = None
    """A file."""
    pairs: int | None = None
    """Images to fit an aligner on, where there is none."""
    explainable: bool = False
    """Whether factors are to be kept, in a collection that keeps none yet too."""


@dataclass(frozen=True, slots=True)
class Made:
    """Whether the collection is there, which it is not where not one image can be read; and how its aligner came."""

    is_there: bool
    fitted: Fitted


def make(store: VectorStore, asked: Asked, inputs: Sequence[ImageInput], embedder: Embedder, monitor: Monitor) -> Made:
    """Make the collection: models, aligner, store, and last the card, whose absence marks an unfinished one.

    Without an aligner's file, one is fitted on images that the ``embedder`` embeds. A collection that another process made
    meanwhile is taken, if it agrees. Raises UsageError, AlignerMismatchError or AlignmentError for an aligner that cannot be
    used or fitted, CollectionFormatError where something stands that is no collection of ours, StoreError where another
    process makes one at this moment.
    """
    settings = load_settings()
    monitor.progress.start(None, "loading the models")
    with monitor.clock.measure(LOAD):
        pair = load_pair(asked.models, settings)
        if asked.explainable:
            pair = explained(pair)
    card = _new_card(asked, pair)
    fitted = Fitted(None if asked.aligner is None else _load_aligner(asked.aligner, card))
    if card.aligned and fitted.aligner is None:
        with monitor.clock.measure(FIT):
            sample = choose_sample(inputs, asked.pairs or settings.fit_pairs)
            fitted = fit_on_images(sample, pair, embedder, monitor=monitor)
        if fitted.all_failed:
            return Made(False, fitted)
    if store.exists():
        if (made := _made_meanwhile(store, asked)) is not None:
            return made
        _drop_unfinished(store)
    try:
        store.create(_spec(card, asked, len(inputs)))
    except StoreError:
        if not store.exists() or (made := _made_meanwhile(store, asked)) is None:
            raise
        return made
    if fitted.aligner is not None:
        store.write_blob(ALIGNER, fitted.aligner.to_bytes())
    CARD.write(store, card)
    return Made(True, fitted)


def _new_card(asked: Asked, pair: PairModels) -> CollectionCard:
    return CollectionCard(
        made_by=f"t2c-search {version('t2c-search')}",
        clip=encoder_ref(pair.clip),
        backbone=encoder_ref(pair.backbone),
        text=asked.models.text,
        free_text=asked.models.text is not None or getattr(pair.clip, "vocabulary", None) is None,
        native=bool(asked.native),
        explainable=getattr(pair.backbone, "method", None) if asked.explainable else None,
    )


def _spec(card: CollectionCard, asked: Asked, images: int) -> CollectionSpec:
    vectors = {CLIP: card.clip.dim} | ({NATIVE: card.backbone.dim} if card.native else {})
    quantization = asked.quantization or ("int8" if images > HELD_WHOLE else "none")
    spec = CollectionSpec.of(vectors, {**PAYLOAD_INDEXES, **asked.fields}, quantization)
    return replace(spec, vectors={**spec.vectors, FACTORS: KEPT_AS}) if card.explainable else spec


def _made_meanwhile(store: VectorStore, asked: Asked) -> Made | None:
    """Return the collection that another process made, if it agrees; None while it has no card."""
    if (card := CARD.read(store)) is None:
        return None
    models = Models(card, asked.models, partial(read_aligner, store))
    agree(store, models, asked)
    return Made(True, Fitted(None))


def agree(store: VectorStore, models: Models, asked: Asked) -> None:
    """Check that a collection is what is asked for; index the fields that it has no index for yet, and have it keep factors.

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
    if asked.explainable and models.card.explainable is None:
        make_explainable(store, models)
    if new := {field: kind for field, kind in asked.fields.items() if field not in spec.indexes}:
        store.add_indexes(new)


def make_explainable(store: VectorStore, models: Models) -> None:
    """Have a collection keep factors from now on: of images that are embedded, and of the others once they are indexed again.

    Raises UsageError for a backbone whose vectors cannot be taken apart.
    """
    from t2c_search.attribution.explained import method_for_all

    method = method_for_all(models.backbone)
    store.add_vector(FACTORS, KEPT_AS)
    change = {"explainable": method, "format_version": FORMAT_VERSION}
    CARD.update(store, lambda card: card and card.model_copy(update=change))


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
