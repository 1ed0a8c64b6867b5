"""The facade that people use: one collection of images, with its models, its store and its statistics."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from t2c_search.card import ALIGNER_BLOB, CONCEPTS_BLOB, CollectionCard, read_card, write_card
from t2c_search.errors import (
    AlignmentError,
    CollectionFormatError,
    CollectionNotFoundError,
    StoreLockedError,
    UsageError,
)
from t2c_search.filters import Filter, Scalar
from t2c_search.fitting import Batching, Fitted, fit_on_images
from t2c_search.indexing.distributed import embed_on_ray, import_ray
from t2c_search.indexing.failures import forget_gone, read_failures
from t2c_search.indexing.fields import check_types
from t2c_search.indexing.metadata import MEASURED, PAYLOAD_INDEXES
from t2c_search.indexing.pipeline import index_images
from t2c_search.indexing.profile import FIT, LIST, LOAD, StageClock
from t2c_search.indexing.removal import absolute_roots
from t2c_search.indexing.report import IndexReport, NoProgress, Progress
from t2c_search.indexing.sources import EVERY, SUFFIXES, ImageInput, ImageList, list_images
from t2c_search.indexing.statistics_state import load_statistics
from t2c_search.models import Models, ModelSelection, encoder_ref, trusted
from t2c_search.query.calibration import Calibration
from t2c_search.query.constraints import And, Image
from t2c_search.query.duplicates import NEAR, Group, find_duplicates
from t2c_search.query.engine import MAX_CANDIDATES, Engine, Expression
from t2c_search.query.recall import measure_recall, read_recall, write_recall
from t2c_search.query.saved import SavedConcept, dump_concepts, fit_concept, load_concepts
from t2c_search.query.syntax import parse, parse_filter
from t2c_search.realigning import RealignReport, check_native, realign
from t2c_search.settings import Device, Dtype, load_settings
from t2c_search.stores import build_index, open_store
from t2c_search.stores.protocol import CollectionSpec, FieldType, Quantization, VectorStore
from t2c_search.types import CLIP, NATIVE, Count, Hit, SearchResult

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner
    from t2c_search.alignment.fit import FitReport
    from t2c_search.indexing.embedding import EmbeddedBatch
    from t2c_search.indexing.pipeline import Run
    from t2c_search.indexing.watch import Changes
    from t2c_search.indexing.writer import Writer

IndexEngine = Literal["local", "ray"]

_SCANNED = 20_000
"""Images up to which every search scans: on the embedded engine that takes 2 ms, and leaves no doubt."""
_REBUILT_AT = 0.01  # of the collection new: what has no graph yet is scanned meanwhile
_LOCKED_SECONDS = 1.0  # between two tries of a watch whose store another process has open
_FIELDS_BLOB = "fields"


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
        sources: Iterable[str | Path],
        *,
        captions: str | Path | None = None,
        fields: Mapping[str, FieldType] | None = None,
        every: float = EVERY,
        aligner: str | Path | None = None,
        fit_pairs: int | None = None,
        keep_native: bool = False,
        quantization: Quantization = "none",
        batch_size: int | None = None,
        workers: int | None = None,
        sync: bool = False,
        engine: IndexEngine = "local",
        ray_address: str | None = None,
        progress: Progress | None = None,
    ) -> IndexReport:
        """Index the images in files, folders, archives, tables and videos; what is there already and unchanged is skipped.

        ``sources`` are paths, ``s3://`` and other addresses, or patterns of either (docs/sources.md). ``fields`` says which
        payload fields are more than text; those given when the collection is made are indexed, and stay so. Of videos, a
        frame ``every`` so many seconds is an image. ``captions`` is a table with the columns ``image`` and ``caption``.

        The first call makes the collection: it fits an aligner on ``fit_pairs`` of the images, unless a fitted one is given
        or the backbone is the CLIP model. ``keep_native`` also stores the backbone's own vectors, so that a later aligner can
        re-project them without the images. ``quantization`` says how vectors are held in memory: whole, or in a quarter or an
        eighth of it, with the whole ones on disk to score by; the store's search index is built at the end where it needs one.

        A file that was renamed keeps its vectors. ``sync`` also deletes what is gone from the folders named; a folder in
        which no image is left raises UsageError instead, as its disk may not be mounted.

        ``engine="ray"`` embeds on the Ray cluster at ``ray_address``, or else on a process for every ``workers`` processors
        of this machine; what the worker processes need is in docs/capacity.md.

        A file that cannot be indexed is in the report, with the reason. Raises UsageError for sources that do not exist.
        """
        clock = StageClock()
        settings = load_settings()
        batching = Batching(batch_size or settings.batch_size, workers or settings.workers)
        if engine == "ray":
            import_ray()  # before an aligner is fitted for nothing
        types = self._field_types(fields or {})
        named = [str(source) for source in sources]
        with clock.measure(LIST):
            inputs = _listed(named, captions, every, types)
            roots = absolute_roots(named, inputs) if sync else []
        embedded: Sequence[EmbeddedBatch] = ()
        if self.card is None:
            fitted = self._make(
                inputs,
                types,
                aligner_file=aligner,
                pairs=fit_pairs or settings.fit_pairs,
                keep_native=keep_native,
                quantization=quantization,
                batching=batching,
                progress=progress,
                clock=clock,
            )
            if fitted.all_failed:
                report = IndexReport.of_failures(fitted.failures)
                return replace(report, seconds=clock.elapsed, warnings=inputs.warnings)
            embedded = fitted.embedded
        elsewhere = self._ray_engine(batching, ray_address) if engine == "ray" else None
        index_all = partial(self._index_here, sync=roots, embedded=embedded, elsewhere=elsewhere, clock=clock)
        report = self._bring_in_line(index_all, inputs, batching, progress)
        return replace(report, seconds=clock.elapsed, warnings=inputs.warnings)

    def retry(
        self, *, batch_size: int | None = None, workers: int | None = None, progress: Progress | None = None
    ) -> IndexReport:
        """Index again what failed when it was last indexed; failures whose files are gone since are forgotten."""
        self._made()
        failed = [failure.path for failure in forget_gone(self.store)]
        if not failed:
            return IndexReport.of_failures(())
        return self.index(failed, batch_size=batch_size, workers=workers, progress=progress)

    def watch(
        self,
        folders: Iterable[str | Path],
        *,
        captions: str | Path | None = None,
        sync: bool = False,
        batch_size: int | None = None,
        workers: int | None = None,
        stop: Event | None = None,
    ) -> Iterator[IndexReport]:
        """Watch folders from this call on; the iterator indexes what changes, a report for each batch, until ``stop`` is set.

        Call it before ``index`` and iterate after, so that nothing is missed in between. With ``sync``, images that go away
        are deleted. Between batches other processes may use an embedded store, and a batch waits for them.
        Raises UsageError for what cannot be watched.
        """
        from t2c_search.indexing.watch import watch

        settings, stop = load_settings(), stop or Event()
        batching = Batching(batch_size or settings.batch_size, workers or settings.workers)
        batches = watch(folders, stop)

        def index(changes: Changes) -> IndexReport:
            present = [path for path in changes.touched if Path(path).exists()]
            inputs = list_images(present, captions=captions, types=self._field_types({}))
            index_all = partial(self._index_here, sync=changes.gone if sync else ())
            return self._bring_in_line(index_all, inputs, batching, None)

        def reports() -> Iterator[IndexReport]:
            self._let_others_in()
            for changes in batches:
                while not stop.is_set():
                    try:
                        report = index(changes)
                    except StoreLockedError:  # a search in another process, as a rule
                        stop.wait(_LOCKED_SECONDS)
                    else:
                        self._let_others_in()
                        if report.seen or report.deleted:
                            yield report
                        break

        return reports()

    def _let_others_in(self) -> None:
        """Unlock an embedded store until it is used again."""
        if self.store.capabilities.persistent and not self.store.capabilities.concurrent:
            self.store.close()
            self.store = open_store(self.store.location, self.name)

    def _bring_in_line(
        self,
        index_all: Callable[..., IndexReport],
        inputs: Sequence[ImageInput],
        batching: Batching,
        progress: Progress | None,
    ) -> IndexReport:
        self._remember_fields(inputs)
        report = index_all(
            inputs,
            store=self.store,
            keep_native=self._made().native,
            batch_size=batching.batch_size,
            workers=batching.workers,
            progress=progress,
        )
        self.__dict__.pop("engine", None)  # its statistics are of before
        self._build_index(report.indexed, progress)
        return report

    def _build_index(self, added: int, progress: Progress | None) -> None:
        """Build the approximate index where searches use it, once enough was added, and measure what it finds."""
        statistics = load_statistics(self.store)
        if statistics is None or statistics.count <= _SCANNED or added < _REBUILT_AT * statistics.count:
            return
        if not self.store.capabilities.concurrent and self.store.capabilities.persistent:  # another process builds it
            shown = progress or NoProgress()
            shown.start(None, "building the search index")
            self.store.close()
            try:
                build_index(self.store.location, self.name, lambda seconds: shown.advance(0))
            finally:
                self.store = open_store(self.store.location, self.name)
        write_recall(self.store, measure_recall(self.store, Calibration(statistics)))

    def _index_here(self, inputs: Sequence[ImageInput], **options: Any) -> IndexReport:
        """Index an existing collection's images in this process."""
        return index_images(
            inputs,
            load_encoder=lambda: self.models.backbone,
            load_projection=lambda: self.models.project,
            **options,
        )

    def _ray_engine(
        self, batching: Batching, address: str | None
    ) -> Callable[[Iterator[ImageInput], Run, Writer], None]:
        """Return what embeds inputs on Ray, whose workers load the collection's models and open its store for themselves."""
        from t2c_search.alignment.aligner import Aligner

        card, key = self._made(), load_settings().qdrant_api_key
        aligner = self._stored_aligner().to_bytes() if card.aligned else b""
        return partial(
            embed_on_ray,
            store=self.store,
            load_model=Models(card, self._choice, partial(Aligner.from_bytes, aligner)).load_image_side,
            open_store=partial(
                open_store, self.store.location, self.name, api_key=key.get_secret_value() if key else None
            ),
            batch_size=batching.batch_size,
            keep_native=card.native,
            workers=batching.workers,
            use_gpus=self._choice.device in ("auto", "cuda"),
            address=address,
        )

    def realign(
        self,
        aligner: str | Path | None = None,
        *,
        fit_images: Iterable[str | Path] = (),
        fit_pairs: int | None = None,
        progress: Progress | None = None,
    ) -> RealignReport:
        """Project the kept native vectors anew, by an aligner's file or one fitted on ``fit_images``; opens no other image.

        The CLIP model is the one named when the collection was opened, else the aligner's or the collection's own. All
        switches in one step: searches see the former vectors until the new ones are complete, also after a killed run.

        Raises UsageError for a collection without native vectors, AlignerMismatchError for an aligner that does not fit.
        """
        from t2c_search.alignment.aligner import Aligner

        card, sample = self._made(), list(fit_images)
        check_native(card, self.name)
        if (aligner is None) == (not sample):
            raise UsageError(
                "give one of the two: an aligner's file, made by t2c fit (--aligner), or images to fit one on (--fit-images)"
            )
        if aligner is not None:
            chosen = Aligner.load(aligner)
        else:
            choice = self._choice
            chosen = fit(
                sample,
                backbone=choice.backbone or trusted(card.backbone.id, "--backbone"),
                clip=choice.clip or trusted(card.clip.id, "--clip"),
                pairs=fit_pairs,
                device=choice.device,
                dtype=choice.dtype,
                progress=progress,
            )
        renewed, report = realign(
            self.store, card, chosen, choice=self._choice, concepts=self.concepts, progress=progress
        )
        self.card = renewed
        for made_from_the_former in ("models", "engine", "concepts"):
            self.__dict__.pop(made_from_the_former, None)
        self._build_index(report.images, progress)
        return report

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
            recall=read_recall(self.store),
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
        content = self.store.read_blob(CONCEPTS_BLOB)
        return load_concepts(content) if content else {}

    def duplicates(self, near: float = NEAR) -> list[Group]:
        """Find the images that are there several times: the same bytes, or a cosine of at least ``near``; largest group first.

        Each group stands from the best image, the one to keep, to the worst; see ``find_duplicates``.
        """
        self._made()
        return find_duplicates(self.store, near)

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
        self.store.write_blob(CONCEPTS_BLOB, dump_concepts(concepts))
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

    def _field_types(self, given: Mapping[str, FieldType]) -> dict[str, FieldType]:
        """Return the types of the fields that people write: those the collection was made with, and those given now."""
        made = {} if self.card is None else self.store.spec().indexes
        return {name: kind for name, kind in made.items() if name not in PAYLOAD_INDEXES} | check_types(given)

    def _remember_fields(self, inputs: Iterable[ImageInput]) -> None:
        """Note the fields that people wrote beside the images, so that a misspelt one can be told from a rare one."""
        known = self._fields()
        if new := {name for item in inputs for name in item.fields} - known:
            self.store.write_blob(_FIELDS_BLOB, json.dumps(sorted(new | known)).encode())

    def _make(
        self,
        inputs: Sequence[ImageInput],
        types: Mapping[str, FieldType],
        *,
        aligner_file: str | Path | None,
        pairs: int,
        keep_native: bool,
        quantization: Quantization,
        batching: Batching,
        progress: Progress | None,
        clock: StageClock,
    ) -> Fitted:
        """Make the collection: models, aligner, store, and last the card, whose absence marks an unfinished one.

        Makes nothing when an aligner is to be fitted and not one image can be read.
        """
        with clock.measure(LOAD):
            clip, backbone = self._choice.load_pair(load_settings())
        card = CollectionCard(
            made_by=f"t2c-search {version('t2c-search')}",
            clip=encoder_ref(clip),
            backbone=encoder_ref(backbone),
            text=self._choice.text,
            free_text=self._choice.text is not None or getattr(clip, "vocabulary", None) is None,
            native=keep_native,
        )
        fitted = Fitted(None if aligner_file is None else _load_aligner(aligner_file, card))
        if card.aligned and fitted.aligner is None:
            with clock.measure(FIT):
                fitted = fit_on_images(
                    inputs, backbone, clip, pairs=pairs, criterion="auto", batching=batching, progress=progress
                )
            if fitted.all_failed:
                return fitted
        if self.store.exists():
            if (card_of_another := read_card(self.store)) is not None:  # it was made while we fitted
                self.card = card_of_another
                return Fitted(None)
            self._drop_unfinished()
        vectors = {CLIP: card.clip.dim} | ({NATIVE: card.backbone.dim} if keep_native else {})
        self.store.create(CollectionSpec(vectors, {**PAYLOAD_INDEXES, **types}, quantization))
        if fitted.aligner is not None:
            self.store.write_blob(ALIGNER_BLOB, fitted.aligner.to_bytes())
        write_card(self.store, card)
        self.card = card
        self.models.clip, self.models.backbone = clip, backbone  # loaded already
        return fitted

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

        content = self.store.read_blob(ALIGNER_BLOB)
        if content is None:
            raise CollectionFormatError(
                f"collection {self.name!r} has lost its aligner; index it again under another name"
            )
        return Aligner.from_bytes(content)


def _listed(
    sources: Iterable[str | Path],
    captions: str | Path | None = None,
    every: float = EVERY,
    types: Mapping[str, FieldType] | None = None,
) -> ImageList:
    """List the images. Raises UsageError when there is none."""
    named = [str(source) for source in sources]
    inputs = list_images(named, captions=captions, every=every, types=types)
    if not inputs:
        reason = "; ".join(inputs.warnings) or f"none of the files there ends in {', '.join(sorted(SUFFIXES))}"
        raise UsageError(f"no image in {', '.join(named) or 'an empty list of sources'}: {reason}")
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
