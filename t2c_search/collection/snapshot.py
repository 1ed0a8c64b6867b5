"""What a collection is at one moment, as far as questions need it; and the current one of a handle, for all its threads.

A snapshot is keyed by the header's version, which changes with whatever is kept beside the points. What an indexer writes
between its first and its last step changes no version: questions go on with the last good statistics meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from t2c_search.attribution.stored import FactorReader
from t2c_search.collection.models import Models, ModelSelection
from t2c_search.collection.nearby import not_found
from t2c_search.concepts.saved import fit_concept
from t2c_search.concepts.vocabulary import EVERYDAY, Vocabulary, choose_vocabulary
from t2c_search.decoding.given import GivenImage
from t2c_search.errors import (
    CollectionFormatError,
    CollectionNotFoundError,
    CollectionReplacedError,
    ExpressionError,
    ImageError,
    UsageError,
    redact,
)
from t2c_search.filters import Exists, Filter
from t2c_search.query.execution.searcher import Expression, Known, Searcher, check_limit
from t2c_search.query.language.concepts import Image, Phrase, ShownImage
from t2c_search.query.language.constraints import And, Constraint, as_constraint
from t2c_search.query.language.reader import is_known, unknown_field
from t2c_search.query.language.syntax import joined, parse, parse_filter
from t2c_search.query.planning.texts import Texts
from t2c_search.results import Facets, Hit, Mined, StatisticsUsed
from t2c_search.state.aligner import ALIGNER, read_aligner
from t2c_search.state.card import CARD, CollectionCard
from t2c_search.state.concepts import CONCEPTS, SavedConcept
from t2c_search.state.failures import read_failures
from t2c_search.state.fields import FIELDS, known_fields
from t2c_search.state.recall import RECALL
from t2c_search.state.statistics import CLAIMS, STATISTICS, Claims, count_statistics
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.header import Header
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import FloatArray

if TYPE_CHECKING:
    from t2c_search.alignment.report import FitReport

T = TypeVar("T")
_COUNTED_BY_INDEX = ("keyword", "integer", "bool")  # other types' indexes tell no single values
_READ = tuple(kept.key for kept in (CARD, FIELDS, STATISTICS, CLAIMS, RECALL))
"""What is read at once; the aligner and the saved concepts are when they are needed, so that damage to them is no bar."""


class Once(Generic[T]):
    """A value that is made when it is first asked for, by one thread for all."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make: Callable[[], T] | None = make
        self._turn = threading.Lock()
        self._value: T

    def __call__(self) -> T:
        """Return the value; what its making raises is raised, and it is tried again next time."""
        with self._turn:
            if self._make is not None:
                self._value = self._make()
                self._make = None  # it may hold what the value was made from
            return self._value


class LazyConcepts(Mapping[str, SavedConcept]):
    """Saved concepts that are read when an expression names one."""

    def __init__(self, read: Callable[[], Mapping[str, SavedConcept]]) -> None:
        self._read = read

    def __getitem__(self, name: str) -> SavedConcept:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A collection at one moment: all that questions need, none of which changes; large parts are made when first needed.

    ``store`` is pinned to it: points may come and go, another collection does not take its place.
    """

    header: Header
    store: VectorStore
    card: CollectionCard
    fields: frozenset[str]
    """Payload fields that expressions may name."""
    models: Models
    texts: Texts
    concepts: Once[Mapping[str, SavedConcept]]
    statistics: Once[VectorStatistics | None]
    """As they are stored."""
    searcher: Once[Searcher]
    blobs: Mapping[str, bytes]
    """Small ones, that the next snapshot is made from where they are the same."""

    def embed_image(self, image: GivenImage) -> FloatArray:
        """Map an image to its unit vector (d_clip,) float32. Raises ImageError that names it: it is one among several."""
        return _embed_image(self.models, image)

    def as_concept(self, image: GivenImage) -> Image:
        """Return what asks for an image; one in memory is embedded at once."""
        if isinstance(image, str | Path):
            return Image(path=str(image))
        return ShownImage(direction=tuple(self.embed_image(image).tolist()))

    def asked(self, query: Expression | None, image: GivenImage | None, where: str | Filter | None) -> Constraint:
        """Return all that is asked for as one tree: a query, an image, and a filter, any of which may be missing.

        Raises UsageError where all are, ExpressionError for what cannot be read.
        """
        wanted: Constraint | None = None
        if query is not None:
            wanted = parse(query, fields=self.fields) if isinstance(query, str | Mapping) else query
        if image is not None:
            shown = self.as_concept(image)
            wanted = shown if wanted is None else And(parts=(wanted, shown))
        if wanted is not None:
            return joined(wanted, where, fields=self.fields)
        if where is None:
            raise UsageError("nothing to search for: give a text, constraints, an image, or a filter")
        return as_constraint(parse_filter(where, fields=self.fields) if isinstance(where, str) else where)

    def asked_and_loaded(
        self, query: Expression | None, where: str | Filter | None, image: GivenImage | None = None
    ) -> Constraint:
        """Return all that is asked for, once the models are loaded that it needs."""
        tree = self.asked(query, image, where)
        self.load_models(tree)
        return tree

    def chosen(self, query: Expression | None, where: str | Filter | None) -> Constraint | None:
        """Return what chooses images to be read in bulk, its models loaded; None for all of them."""
        return None if query is None and where is None else self.asked_and_loaded(query, where)

    def vocabulary(
        self, given: str | Path | Sequence[str] | Vocabulary | None = None, general: str = EVERYDAY
    ) -> Vocabulary:
        """Return the concepts that vectors are read in; ``choose_vocabulary`` says what may be given."""
        return choose_vocabulary(given, self.searcher(), self.card.clip.id, self.models.text.vocabulary, general)

    def load_models(self, tree: Constraint) -> None:
        """Load what a tree's texts and images go through, before its store is opened and its clock runs."""
        if any(tree.find(Phrase)):
            _ = self.models.text
        if any(tree.find(Image)):
            _ = self.models.shown_side

    def learn_concept(
        self, name: str, yes: Sequence[GivenImage], no: Sequence[GivenImage], texts: Sequence[str]
    ) -> SavedConcept:
        """Learn a concept from images that show it, images that do not, and texts; ``fit_concept`` tells how."""
        shown, others = (
            np.array([self.embed_image(image) for image in images], np.float32).reshape(-1, self.card.clip.dim)
            for images in (yes, no)
        )
        direction = self.texts.worded(texts) if texts else None
        return fit_concept(name, shown, others, self.searcher().calibration, direction)

    def facets(self, field: str, query: Expression | None, where: str | Filter | None, limit: int) -> Facets:
        """Count a field's values; without constraints the store's index does, where the field has one."""
        check_limit("limit", limit)
        if not is_known(field, self.fields):
            raise UsageError(unknown_field(field, self.fields))
        if query is None and self.header.spec.indexes.get(field) not in _COUNTED_BY_INDEX:
            query = Exists(field=field)
        if query is not None:
            return self.searcher().facets(self.asked_and_loaded(query, where), field, limit=limit)
        condition = parse_filter(where, fields=self.fields) if isinstance(where, str) else where
        return Facets(field, self.store.facet(field, where=condition, limit=limit))

    def fit_report(self) -> FitReport | None:
        """How good the aligner is; None when none is needed."""
        return read_aligner(self.store).report if self.card.aligned else None

    def summary(self) -> dict[str, Any]:
        """Describe the collection in plain values."""
        card, report = self.card, self.fit_report()
        return {
            "collection": self.store.collection,
            "store": redact(self.store.location),
            "transport": self.store.capabilities.transport,
            "physical_names": self.store.physical_names(),
            "images": self.store.count(),
            "clip": card.clip.id,
            "backbone": card.backbone.id,
            "text": card.text or card.clip.id,
            "dimensions": card.clip.dim,
            "native": card.backbone.dim if card.native else None,
            "explainable": card.explainable,
            "format_version": card.format_version,
            "made_by": card.made_by,
            "aligner": report.to_json() if report else None,
            "failures": [asdict(failure.redacted()) for failure in read_failures(self.store)],
        }


class Snapshots:
    """The current snapshot of one collection, for all threads that ask; each call looks at the header, one small read."""

    def __init__(self, store: VectorStore, choice: ModelSelection) -> None:
        self.store = store
        self._choice = choice
        self._turn = threading.Lock()
        self._now: Snapshot | None = None
        self._opened = self._if_there(store.header)
        """What was there when it was opened: the rest is read by whoever asks first."""

    @property
    def last(self) -> Snapshot | None:
        """The snapshot that was taken last, without a look at the collection."""
        return self._now

    def current(self) -> Snapshot | None:
        """Return the collection as it is now; None when it is not there, or its making was not finished."""
        seen = None
        if self._now is not None:
            seen = self._if_there(self.store.header)
            if seen is None:
                self._now = None
                return None
        with self._turn:
            if self._now is None or seen is None or not self._now.header.descends_from(seen.version):
                self._now = self._take(self._now, seen or self._opened)
            return self._now

    def made(self) -> Snapshot:
        """Return the collection as it is now. Raises CollectionNotFoundError, saying how to make it, when it is not there."""
        snapshot = self.current()
        if snapshot is None:
            raise not_found(self.store)
        return snapshot

    def refresh(self) -> None:
        """Read the collection anew, whether or not it has changed."""
        with self._turn:
            self._now = self._take(self._now, None)

    def ask(self, question: Callable[[Snapshot], T]) -> T:
        """Return the answer to a question; asked again when another collection takes this one's place meanwhile."""
        while True:
            snapshot = self.made()
            try:
                return question(snapshot)
            except CollectionReplacedError:
                if self.current() is snapshot:
                    raise

    def ask_what_was_read(self, question: Callable[[Snapshot], T]) -> T:
        """Return the answer to a question about an expression alone, without a look at the collection where that was read.

        What cannot be read of it may have a name that is new: then it is asked of the collection as it is now.
        """
        if self._now is not None:
            with suppress(ExpressionError, UsageError):
                return question(self._now)
        return self.ask(question)

    def _take(self, former: Snapshot | None, seen: Header | None) -> Snapshot | None:
        """Read the collection; what has not changed since a former snapshot, seen by the header, is not read again."""
        read = self._if_there(lambda: _read(self.store, former, seen))
        if read is None:
            return None
        header, blobs = read
        card = CARD.among(blobs)
        return None if card is None else self._assemble(header, blobs, card, former)

    def _if_there(self, read: Callable[[], T]) -> T | None:
        """Return what is read of the collection; None when it is not there, or its making was interrupted."""
        try:
            return read()
        except CollectionNotFoundError:
            return None
        except CollectionFormatError:
            if self.store.exists():
                raise
            return None

    def _assemble(
        self, header: Header, blobs: Mapping[str, bytes], card: CollectionCard, former: Snapshot | None
    ) -> Snapshot:
        store = self.store.pinned(header)
        if former is not None and _unchanged(header, former, CARD.key, ALIGNER):
            models, texts = former.models, former.texts
        else:
            models = Models(card, self._choice, partial(read_aligner, store))
            texts = Texts(models.embed_texts, card.free_text)
            if former is not None and _same_texts(former.card, card):
                texts = former.texts
        statistics = Once(partial(STATISTICS.among, blobs))
        if former is not None and _unchanged(header, former, STATISTICS.key):
            statistics = former.statistics
        small = {key: content for key, content in blobs.items() if key != STATISTICS.key}
        fields, concepts = known_fields(FIELDS.among(small)), Once(partial(CONCEPTS.read, store))

        factors = _factor_reader(card, store)

        def make_searcher() -> Searcher:
            found, used = _count_unless_stored(store, header, statistics(), CLAIMS.among(small))
            known = Known(found, used, LazyConcepts(concepts), fields, RECALL.among(small), factors)
            return Searcher(store, known, texts, partial(_embed_image, models))

        return Snapshot(header, store, card, fields, models, texts, concepts, statistics, Once(make_searcher), small)


def _factor_reader(card: CollectionCard, store: VectorStore) -> FactorReader | None:
    """Return what reads the factors of a collection's images; None where it keeps none."""
    if card.explainable is None:
        return None
    read = Once(lambda: read_aligner(store) if card.aligned else None)
    return FactorReader(card.native, read, card.explainable)


def of_one_collection(mined: Mined) -> Mined:
    """Return what is mined with the first hit found: until then, another collection that takes its place is asked instead."""
    return Mined(chain(list(islice(mined, 1)), _rest(mined)), lambda: mined.plan, mined.statistics, mined.as_of)


def _rest(hits: Iterator[Hit]) -> Iterator[Hit]:
    try:
        yield from hits
    except CollectionReplacedError as exc:
        raise CollectionReplacedError(
            "the collection was replaced while it was mined: the hits so far are of the former one; mine it again"
        ) from exc


def _read(store: VectorStore, former: Snapshot | None, seen: Header | None) -> tuple[Header, Mapping[str, bytes]]:
    """Return the header and what is read at once, of one moment."""
    while former is not None and seen is not None:
        same = [key for key in _READ if _unchanged(seen, former, key)]
        header, blobs = store.read_blobs([key for key in _READ if key not in same], seen)
        if _unchanged(header, former, *same):
            return header, {key: former.blobs[key] for key in same if key in former.blobs} | blobs
        seen = header
    return store.read_blobs(_READ, seen)


def _unchanged(header: Header, former: Snapshot, *keys: str) -> bool:
    return all(header.blobs.get(key) == former.header.blobs.get(key) for key in keys)


def _same_texts(one: CollectionCard, other: CollectionCard) -> bool:
    """Tell whether texts have the same vectors in both collections."""
    return one.clip.difference(other.clip) is None and (one.text, one.free_text) == (other.text, other.free_text)


def _count_unless_stored(
    store: VectorStore, header: Header, statistics: VectorStatistics | None, claims: Claims
) -> tuple[VectorStatistics, StatisticsUsed]:
    """Return the last good statistics; of a collection that never had any, or damaged ones, those counted now.

    Raises CollectionNotFoundError when the collection holds no image.
    """
    if statistics is not None and (statistics.count or not claims.open):
        stored = header.blobs[STATISTICS.key]
        used = StatisticsUsed(statistics.count, stored.id, claims.vouch_for(stored.digest))
    else:
        statistics = count_statistics(store)
        used = StatisticsUsed(statistics.count if statistics else 0, header.version, not claims.open)
    if statistics is None or not statistics.count:
        raise CollectionNotFoundError(
            f"collection {store.collection!r} holds no image yet; add some with: t2c index FOLDER"
        )
    return statistics, used


def _embed_image(models: Models, image: GivenImage) -> FloatArray:
    try:
        return models.embed_image(image)
    except ImageError as exc:
        raise ImageError(f"{image if isinstance(image, str | Path) else 'an image in memory'}: {exc}") from exc
