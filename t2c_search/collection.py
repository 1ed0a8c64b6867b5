"""The facade that people use: one collection of images, with its models, its store and its statistics."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from t2c_search.card import CollectionCard, read_card, write_card
from t2c_search.errors import AlignmentError, CollectionFormatError, CollectionNotFoundError, UsageError
from t2c_search.filters import Filter, Scalar
from t2c_search.fitting import Batching, fit_on_images
from t2c_search.indexing.failures import read_failures
from t2c_search.indexing.metadata import MEASURED, PAYLOAD_INDEXES
from t2c_search.indexing.pipeline import index_images
from t2c_search.indexing.report import IndexReport, Progress
from t2c_search.indexing.sources import SUFFIXES, ImageInput, ImageList, list_images
from t2c_search.indexing.statistics_state import load_statistics
from t2c_search.models import Models, ModelSelection, encoder_ref
from t2c_search.query.constraints import And, Image
from t2c_search.query.engine import MAX_CANDIDATES, Engine, Expression
from t2c_search.query.saved import SavedConcept, dump_concepts, fit_concept, load_concepts
from t2c_search.query.syntax import parse, parse_filter
from t2c_search.settings import Device, Dtype, load_settings
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.types import CLIP, NATIVE, Count, Failure, Hit, SearchResult

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner
    from t2c_search.alignment.fit import FitReport

_SCANNED = 20_000
"""Images up to which every search scans: on the embedded engine that takes 2 ms, and leaves no doubt."""
_ALIGNER_BLOB, _CONCEPTS_BLOB, _FIELDS_BLOB = "aligner", "concepts", "fields"


def open_collection(
    name: str | None = None,
    store: str | None = None,
    *,
    clip: str | None = None,
    backbone: str | None = None,
    text: str | None = None,
    device: Device | None = None,
    dtype: Dtype | None = None,
) -> Collection:
    """Open a collection of images, there already or not yet; nothing is made before ``Collection.index``.

    What is left out comes from the collection's card, or else from the settings (``T2C_*`` variables, ``t2c.toml``).
    Raises StoreError when the store cannot be opened, CollectionFormatError when a newer version made the collection.
    """
    settings = load_settings()
    choice = ModelSelection(clip, backbone, text, device or settings.device, dtype or settings.dtype)
    key = settings.qdrant_api_key
    opened = open_store(
        store or settings.store, name or settings.collection, api_key=key.get_secret_value() if key else None
    )
    try:
        return Collection(opened, choice)
    except BaseException:
        opened.close()
        raise


def fit(
    images: Iterable[str | Path],
    *,
    backbone: str,
    clip: str | None = None,
    pairs: int | None = None,
    criterion: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    device: Device | None = None,
    dtype: Dtype | None = None,
    progress: Progress | None = None,
) -> Aligner:
    """Fit an aligner on a sample of images, to save and to use for many collections; its ``report`` says how good it is.

    Raises UsageError when backbone and CLIP model are the same, AlignmentError when too few images can be read.
    """
    settings = load_settings()
    choice = ModelSelection(clip or settings.clip, backbone, None, device or settings.device, dtype or settings.dtype)
    inputs = _listed(images)
    clip_model, backbone_model = choice.load_pair(settings)
    if backbone_model is clip_model:
        raise UsageError(f"{backbone!r} is the CLIP model itself: its vectors need no aligner")
    fitted = fit_on_images(
        inputs,
        backbone_model,
        clip_model,
        pairs=pairs or settings.fit_pairs,
        criterion=criterion,
        batching=Batching(batch_size or settings.batch_size, workers or settings.workers),
        progress=progress,
    )
    if fitted.aligner is None:
        raise AlignmentError(
            f"none of {len(fitted.failures)} images can be read; the first, {fitted.failures[0].path}: "
            f"{fitted.failures[0].reason}"
        )
    return fitted.aligner


class Collection:
    """One collection of images: index into it, search it. A context manager; ``close`` releases the store."""

    def __init__(self, store: VectorStore, choice: ModelSelection) -> None:
        self.store = store
        self._choice = choice
        self.card = read_card(store) if store.exists() else None

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.store.collection

    @cached_property
    def models(self) -> Models:
        """The models that made the collection. Raises CollectionNotFoundError when nothing was indexed yet."""
        return Models(self._made(), self._choice, self._stored_aligner)

    def index(
        self,
        paths: Iterable[str | Path],
        *,
        captions: str | Path | None = None,
        aligner: str | Path | None = None,
        fit_pairs: int | None = None,
        keep_native: bool = False,
        batch_size: int | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> IndexReport:
        """Index images, and folders of images with all below them; what is there already and unchanged is skipped.

        The first call makes the collection: it fits an aligner on ``fit_pairs`` of the images, unless a fitted one is given
        or the backbone is the CLIP model. ``captions`` is a CSV with the columns ``image`` and ``caption``. ``keep_native``
        also stores the backbone's own vectors, so that a later aligner can re-project them without the images.

        A file that cannot be indexed is in the report, with the reason. Raises UsageError for paths that do not exist.
        """
        started = time.perf_counter()
        settings = load_settings()
        batching = Batching(batch_size or settings.batch_size, workers or settings.workers)
        inputs = _listed(paths, captions)
        if self.card is None:
            unreadable = self._make(
                inputs,
                aligner_file=aligner,
                pairs=fit_pairs or settings.fit_pairs,
                keep_native=keep_native,
                batching=batching,
                progress=progress,
            )
            if unreadable:
                report = IndexReport.of_failures(unreadable)
                return replace(report, seconds=time.perf_counter() - started, warnings=inputs.warnings)
        self._remember_fields(inputs)
        report = index_images(
            inputs,
            store=self.store,
            load_encoder=lambda: self.models.backbone,
            load_projection=lambda: self.models.project,
            keep_native=self._made().native,
            batch_size=batching.batch_size,
            workers=batching.workers,
            progress=progress,
        )
        self.__dict__.pop("engine", None)  # its statistics are of before
        return replace(report, seconds=time.perf_counter() - started, warnings=inputs.warnings)

    @cached_property
    def engine(self) -> Engine:
        """The query engine over the collection as it is now. Raises CollectionNotFoundError when it holds no image."""
        card = self._made()
        statistics = load_statistics(self.store)
        if statistics is None or not statistics.count:
            raise CollectionNotFoundError(
                f"collection {self.name!r} holds no image yet; add some with: t2c index FOLDER"
            )
        return Engine(
            self.store,
            statistics,
            embed_texts=self.models.embed_texts,
            embed_image=self.models.embed_image,
            concepts=self.concepts,
            fields=self._fields(),
            free_text=card.free_text,
        )

    def search(
        self,
        query: Expression | None = None,
        *,
        image: str | Path | None = None,
        limit: int = 10,
        where: str | Filter | None = None,
        exact: bool = False,
        diverse: bool = False,
        group_by: str | None = None,
        max_candidates: int = MAX_CANDIDATES,
        max_seconds: float | None = None,
    ) -> SearchResult:
        """Find the ``limit`` images that match best: a text, an expression, its JSON tree, an ``image``, or both.

        ``exact`` scans every vector instead of asking the index, as small collections always do; ``diverse`` prefers
        hits unlike each other; ``group_by`` keeps the best of each value of a field. A search that reaches
        ``max_candidates`` or ``max_seconds`` returns what it has, uncertified. Raises ExpressionError for an expression
        that cannot be read.
        """
        return self.engine.search(
            self._with_image(query, image),
            limit,
            where=where,
            exact=exact or self.engine.calibration.count <= _SCANNED,
            diverse=diverse,
            group_by=group_by,
            max_candidates=max_candidates,
            max_seconds=max_seconds,
        )

    def mine(self, query: Expression, *, where: str | Filter | None = None) -> Iterator[Hit]:
        """Yield every image that satisfies the constraints, in ascending order of id, in memory that stays constant.

        A bare text holds for what lies above the default threshold. Raises ExpressionError as ``search`` does.
        """
        return self.engine.mine(query, where=where)

    def count(self, query: Expression, *, where: str | Filter | None = None, approx: bool = False) -> Count:
        """Count the images that satisfy the constraints: exactly, or from the sample with a 95 % interval."""
        return self.engine.count(query, where=where, approximate=approx)

    def facets(
        self, field: str, query: Expression | None = None, *, where: str | Filter | None = None, limit: int = 20
    ) -> list[tuple[Scalar, int]]:
        """Count a payload field's values among the images that satisfy the constraints, most frequent first."""
        if query is None:
            condition = parse_filter(where, fields=self._fields()) if isinstance(where, str) else where
            return self.store.facet(field, where=condition, limit=limit)
        return self.engine.facets(query, field, where=where, limit=limit)

    @cached_property
    def concepts(self) -> dict[str, SavedConcept]:
        """The concepts saved with the collection, by name; an expression uses one as ``@name``."""
        content = self.store.read_blob(_CONCEPTS_BLOB)
        return load_concepts(content) if content else {}

    def add_concept(
        self,
        name: str,
        yes: Sequence[str | Path],
        no: Sequence[str | Path] = (),
        *,
        text: str | None = None,
    ) -> SavedConcept:
        """Save a concept learnt from image files that show it and files that do not, starting from a text if given.

        Replaces a concept of that name. Raises ImageError for a file that cannot be read, UsageError without examples.
        """
        embed = self.models.embed_image
        dim = self._made().clip.dim
        shown, others = (np.array([embed(path) for path in paths], np.float32).reshape(-1, dim) for paths in (yes, no))
        direction = None if text is None else self.models.embed_texts([text])[0].astype(np.float64)
        concept = fit_concept(name, shown, others, self.engine.calibration, direction)
        self._save_concepts(self.concepts | {name: concept})
        return concept

    def remove_concept(self, name: str) -> None:
        """Forget a saved concept. Raises UsageError, naming those there are, when there is none of that name."""
        if name not in self.concepts:
            raise UsageError(f"no concept is saved as {name!r}; there are: {', '.join(self.concepts) or 'none'}")
        self._save_concepts({saved: concept for saved, concept in self.concepts.items() if saved != name})

    def _save_concepts(self, concepts: dict[str, SavedConcept]) -> None:
        self.store.write_blob(_CONCEPTS_BLOB, dump_concepts(concepts))
        self.concepts = concepts
        self.__dict__.pop("engine", None)

    def _with_image(self, query: Expression | None, image: str | Path | None) -> Expression:
        if image is None:
            if query is None:
                raise UsageError("nothing to search for: give a text, constraints, or an image")
            return query
        wanted = Image(path=str(image))
        if query is None:
            return wanted
        tree = parse(query, fields=self._fields()) if isinstance(query, str | Mapping) else query
        return And(parts=(tree, wanted))

    def _fields(self) -> set[str]:
        """Return the payload fields that expressions may name."""
        content = self.store.read_blob(_FIELDS_BLOB)
        return {*MEASURED, *PAYLOAD_INDEXES, *(json.loads(content) if content else ())}

    def _remember_fields(self, inputs: Iterable[ImageInput]) -> None:
        """Note the fields that people wrote beside the images, so that a misspelt one can be told from a rare one."""
        known = self._fields()
        if new := {name for item in inputs for name in item.fields} - known:
            self.store.write_blob(_FIELDS_BLOB, json.dumps(sorted(new | known)).encode())

    def _make(
        self,
        inputs: Sequence[ImageInput],
        *,
        aligner_file: str | Path | None,
        pairs: int,
        keep_native: bool,
        batching: Batching,
        progress: Progress | None,
    ) -> tuple[Failure, ...]:
        """Make the collection: models, aligner, store, and last the card, whose absence marks an unfinished one.

        Returns the failures, and makes nothing, when an aligner is to be fitted and not one image can be read.
        """
        clip, backbone = self._choice.load_pair(load_settings())
        card = CollectionCard(
            made_by=f"t2c-search {version('t2c-search')}",
            clip=encoder_ref(clip),
            backbone=encoder_ref(backbone),
            text=self._choice.text,
            free_text=self._choice.text is not None or getattr(clip, "vocabulary", None) is None,
            native=keep_native,
        )
        aligner = None
        if aligner_file is not None:
            aligner = _load_aligner(aligner_file, card)
        elif card.aligned:
            fitted = fit_on_images(
                inputs, backbone, clip, pairs=pairs, criterion="auto", batching=batching, progress=progress
            )
            if fitted.aligner is None:
                return fitted.failures
            aligner = fitted.aligner
        if self.store.exists():
            self._drop_unfinished()
        vectors = {CLIP: card.clip.dim} | ({NATIVE: card.backbone.dim} if keep_native else {})
        self.store.create(CollectionSpec(vectors, PAYLOAD_INDEXES))
        if aligner is not None:
            self.store.write_blob(_ALIGNER_BLOB, aligner.to_bytes())
        write_card(self.store, card)
        self.card = card
        self.models.clip, self.models.backbone = clip, backbone  # loaded already
        return ()

    @property
    def fit_report(self) -> FitReport | None:
        """How good the collection's aligner is; None when it needs none, or nothing is made yet."""
        return self._stored_aligner().report if self.card is not None and self.card.aligned else None

    def summary(self) -> dict[str, Any]:
        """Describe the collection in plain values: models, dimensions, number of images, fit report, failures."""
        card = self._made()
        report = self.fit_report
        return {
            "collection": self.name,
            "store": self.store.location,
            "images": self.store.count(),
            "clip": card.clip.id,
            "backbone": card.backbone.id,
            "text": card.text or card.clip.id,
            "dimensions": card.clip.dim,
            "native": card.backbone.dim if card.native else None,
            "format_version": card.format_version,
            "made_by": card.made_by,
            "aligner": report.to_json() if report else None,
            "failures": [asdict(failure) for failure in read_failures(self.store)],
        }

    def close(self) -> None:
        """Release the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _made(self) -> CollectionCard:
        """Return the card. Raises CollectionNotFoundError, saying how to make the collection, when there is none."""
        if self.card is None:
            raise CollectionNotFoundError(
                f"there is no collection {self.name!r} in {self.store.location}; "
                f"make it with: t2c index FOLDER -c {self.name} --store {self.store.location}"
            )
        return self.card

    def _drop_unfinished(self) -> None:
        """Drop a collection whose making was interrupted. Raises CollectionFormatError when it holds points: not ours."""
        if self.store.count():
            raise CollectionFormatError(
                f"collection {self.name!r} in {self.store.location} holds points but was not made by t2c_search; "
                "choose another collection name"
            )
        self.store.drop()

    def _stored_aligner(self) -> Aligner:
        from t2c_search.alignment.aligner import Aligner

        content = self.store.read_blob(_ALIGNER_BLOB)
        if content is None:
            raise CollectionFormatError(
                f"collection {self.name!r} has lost its aligner; index it again under another name"
            )
        return Aligner.from_bytes(content)


def _listed(paths: Iterable[str | Path], captions: str | Path | None = None) -> ImageList:
    """List the images. Raises UsageError when there is none."""
    named = [str(path) for path in paths]
    inputs = list_images(named, captions=captions)
    if not inputs:
        raise UsageError(
            f"no image in {', '.join(named) or 'an empty list of paths'}: none of the files there ends in "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    return inputs


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
