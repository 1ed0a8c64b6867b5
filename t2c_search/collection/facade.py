"""The facade that people use: one collection of images, with its models, its store and its statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, get_args

from t2c_search.collection.explaining import Explaining
from t2c_search.collection.in_words import InWords
from t2c_search.collection.making import Asked
from t2c_search.collection.models import Models, ModelSelection
from t2c_search.collection.realigning import (
    AlignerSource,
    RealignReport,
    check_native,
    check_replaceable,
    choose_aligner,
    realign,
)
from t2c_search.collection.removing import present, remove_images
from t2c_search.collection.search_index import build_search_index, is_scanned
from t2c_search.collection.snapshot import Snapshot, Snapshots, of_one_collection
from t2c_search.collection.updating import IndexEngine, Sources, begin_run, choose_embedder, index_known, index_sources
from t2c_search.decoding.given import GivenImage, as_image, as_images
from t2c_search.encoders.pool import ModelPool, default_pool
from t2c_search.errors import UsageError, redact
from t2c_search.filters import Filter, Node
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.ray.cluster import Cluster
from t2c_search.indexing.report import IndexReport
from t2c_search.progress import Monitor, NoProgress, Progress
from t2c_search.query.execution.duplicates import NEAR, Duplicates, find_duplicates
from t2c_search.query.execution.searcher import MAX_CANDIDATES, Expression, Searcher, Wanted
from t2c_search.query.language.printer import unparse
from t2c_search.results import Count, Facets, Mined, SearchResult
from t2c_search.settings import Device, Dtype, load_settings
from t2c_search.sources import EVERY
from t2c_search.sources.arguments import as_list, check_choice, check_counts, check_kind, check_seconds
from t2c_search.sources.passed_over import check_patterns
from t2c_search.sources.tables.field_types import check_types
from t2c_search.state.card import CollectionCard
from t2c_search.state.concepts import SavedConcept, forget_concept, save_concept
from t2c_search.state.failures import forget_gone
from t2c_search.state.statistics import repair_statistics
from t2c_search.stores import open_store
from t2c_search.stores.protocol import NO_WAIT, FieldType, Quantization, VectorStore, Wait

if TYPE_CHECKING:
    from t2c_search.alignment.report import FitReport


def open_collection(
    name: str | None = None,
    store: str | None = None,
    *,
    clip: str | None = None,
    backbone: str | None = None,
    text: str | None = None,
    device: Device | None = None,
    dtype: Dtype | None = None,
    compile: bool | None = None,
    wait: Wait = NO_WAIT,
    pool: ModelPool | None = None,
    through: str | Path | None = None,
) -> Collection:
    """Open a collection of images, there already or not yet; nothing is made before ``Collection.index``.

    What is left out comes from the collection's card, or else from the settings (``T2C_*`` variables, ``t2c.toml``). One
    process at a time has an embedded collection open; ``wait`` says how long to wait for another one: not at all if left out.
    Models are loaded through a ``pool``, which several collections may share: this process's own if left out. Images that
    questions show go ``through`` another model where that names an aligner's file, made by ``fit(..., onto=)`` for the
    collection's backbone, which then need not be there.
    Raises StoreError when the store cannot be opened; a collection that a newer version made raises CollectionFormatError
    when it is used.
    """
    settings = load_settings()
    choice = ModelSelection(
        clip,
        backbone,
        text,
        device or settings.device,
        dtype or settings.dtype,
        settings.compile if compile is None else compile,
        pool or default_pool(),
        through,
    )
    location = store or settings.store
    opened = open_store(location, name or settings.collection, api_key=settings.key_for(location), wait=wait)
    try:
        return Collection(opened, choice)
    except BaseException:
        opened.close()
        raise


class Collection(InWords, Explaining):
    """One collection of images: index into it, search it. A context manager; ``close`` releases the store."""

    def __init__(self, store: VectorStore, choice: ModelSelection) -> None:
        self.store = store
        self._choice = choice
        self._snapshots = Snapshots(store, choice)

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.store.collection

    @property
    def card(self) -> CollectionCard | None:
        """Which models made the collection, as it is now; None when nothing was indexed yet."""
        snapshot = self._snapshots.current()
        return None if snapshot is None else snapshot.card

    @property
    def models(self) -> Models:
        """The models that made the collection. Raises CollectionNotFoundError when nothing was indexed yet."""
        return self._snapshots.made().models

    @property
    def fields(self) -> frozenset[str]:
        """The payload fields that expressions may name, as of the last question."""
        return self._snapshots.ask_what_was_read(lambda now: now.fields)

    @property
    def searcher(self) -> Searcher:
        """What answers queries, over the collection as it is now. Raises CollectionNotFoundError when it holds no image."""
        return self._snapshots.made().searcher()

    def index(
        self,
        sources: str | Path | Iterable[str | Path],
        *,
        captions: str | Path | None = None,
        fields: Mapping[str, FieldType] | None = None,
        every: float = EVERY,
        exclude: Sequence[str] = (),
        allow_private: bool = False,
        image_column: str | None = None,
        aligner: str | Path | None = None,
        fit_pairs: int | None = None,
        keep_native: bool | None = None,
        quantization: Quantization | None = None,
        explainable: bool = False,
        batch_size: int | None = None,
        workers: int | None = None,
        sync: bool = False,
        engine: IndexEngine = "local",
        ray_address: str | None = None,
        allow_empty: bool = False,
        progress: Progress | None = None,
    ) -> IndexReport:
        """Index the images in files, folders, archives, tables and videos; what is there already and unchanged is skipped.

        ``sources`` are paths, ``s3://`` and other addresses, or patterns of either (docs/sources.md). ``fields`` says which
        payload fields are more than text, and to be indexed, from now on. Of videos, a frame ``every`` so many seconds is an
        image. ``captions`` is a table with the columns ``image`` and ``caption``. The ``image_column`` of tables holds or names
        their images; left out, it is found by its name, or else by what is in it. Web addresses that a table names are not
        fetched from this machine's own network, image by image, unless ``allow_private`` says so. What matches a pattern of
        ``exclude``, by its name or the last parts of its path, is passed over.

        The first call makes the collection: it fits an aligner on ``fit_pairs`` of the images, unless a fitted one is given
        or the backbone is the CLIP model. ``keep_native`` also stores the backbone's own vectors, so that a later aligner can
        re-project them without the images. ``quantization`` says how vectors are held in memory: whole (``none``), or in a
        quarter (``int8``) or an eighth (``tq4``) of it, with the whole ones on disk to score by; left out, whole up to a
        million images and ``int8`` beyond. The store's search index is built at the end where it needs one.

        ``explainable`` keeps beside each vector which places of its image gave which part of it: up to 16 KiB an image, made in
        the same pass. ``locate`` and ``anywhere("...")`` in expressions then need no image. A collection that is there keeps them
        from then on, and images that lack them are embedded again.

        Models, aligner, native vectors, quantization and types of fields stay what they are from then on: left out they are
        the collection's own, and given otherwise they raise UsageError.

        A file that was renamed keeps its vectors. ``sync`` also deletes what is gone from the folders named, and from
        archives, tables and videos that are gone from there; a folder in which no image is left raises UsageError instead,
        as its disk may not be mounted.

        ``engine="ray"`` embeds on the Ray cluster at ``ray_address``, or else on a process for every ``workers`` processors
        of this machine; what the worker processes need is in docs/capacity.md.

        A file that cannot be indexed is in the report, with the reason. Raises UsageError for sources that do not exist, and
        for sources without an image; with ``allow_empty`` only where the collection is not made yet, as a folder may be
        watched before anything is in it.
        """
        named = as_list("sources", sources)
        check_counts(batch_size=batch_size, workers=workers, fit_pairs=fit_pairs)
        check_seconds(every=every)
        check_choice("engine", engine, get_args(IndexEngine))
        check_choice("quantization", quantization, get_args(Quantization))
        batching = Batching.chosen(batch_size, workers)
        cluster = Cluster(ray_address, use_gpus=self._choice.device in ("auto", "cuda"))
        embedder = choose_embedder(engine, batching, cluster, self.store.location)
        asked = Asked(
            self._choice, check_types(fields or {}), keep_native, quantization, aligner, fit_pairs, explainable
        )
        listed = Sources(named, captions, every, image_column or "", tuple(exclude), allow_private, sync, allow_empty)
        return index_sources(self._snapshots, listed, asked, embedder, Monitor(progress or NoProgress()))

    def retry(
        self, *, batch_size: int | None = None, workers: int | None = None, progress: Progress | None = None
    ) -> IndexReport:
        """Index again what failed when it was last indexed; failures whose files are gone since are forgotten.

        Text and JSON files beside an image are read again. What a manifest, the columns of a parquet table or a table of
        captions said of it is not kept with the failure: index that source again to have it.
        """
        check_counts(batch_size=batch_size, workers=workers)
        snapshot = self._snapshots.made()
        snapshot.models.check_choice()
        failed = [failure.path for failure in forget_gone(snapshot.store)]
        if not failed:
            repair_statistics(snapshot.store)
            return IndexReport.of_failures(())
        run = begin_run(snapshot, Monitor(progress or NoProgress()))
        return index_known(run, failed, Batching.chosen(batch_size, workers))

    def watch(
        self,
        folders: str | Path | Iterable[str | Path],
        *,
        captions: str | Path | None = None,
        exclude: Sequence[str] = (),
        sync: bool = False,
        batch_size: int | None = None,
        workers: int | None = None,
        stop: Event | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Iterator[IndexReport]:
        """Watch folders from this call on; the iterator indexes what changes, a report for each batch, until ``stop`` is set.

        Call it before ``index`` and iterate after, so that nothing is missed in between. With ``sync``, images that go away
        are deleted. Between batches other processes may use an embedded store, and a batch waits for them. A server that
        goes away is waited for, however long: ``tell`` is told since when.
        Raises UsageError for what cannot be watched.
        """
        from t2c_search.collection.watching import index_changes
        from t2c_search.indexing.watch import watch

        check_counts(batch_size=batch_size, workers=workers)
        batching, ended = Batching.chosen(batch_size, workers), stop or Event()

        def index(touched: Sequence[str], gone: Sequence[str]) -> IndexReport:
            run = begin_run(self._snapshots.made(), Monitor())
            return index_known(run, touched, batching, captions=captions, exclude=exclude, gone=gone if sync else ())

        changes = watch(as_list("folders", folders), ended, check_patterns(as_list("exclude", exclude)))
        return index_changes(changes, index, store=self.store, stop=ended, tell=tell or _tell_nobody)

    def realign(
        self,
        aligner: str | Path | None = None,
        *,
        fit_images: str | Path | Iterable[str | Path] = (),
        fit_pairs: int | None = None,
        progress: Progress | None = None,
    ) -> RealignReport:
        """Project the kept native vectors anew, by an aligner's file or one fitted on ``fit_images``; opens no other image.

        The CLIP model is the one named when the collection was opened, else the aligner's or the collection's own. All
        switches in one step: searches see the former vectors until the new ones are complete, also after a killed run.

        Raises UsageError for a collection without native vectors, AlignerMismatchError for an aligner that does not fit.
        """
        source = AlignerSource(aligner, as_list("fit_images", fit_images), fit_pairs)
        check_counts(fit_pairs=fit_pairs)
        card = self._snapshots.made().card
        check_native(card, self.name)
        check_replaceable(self.store)
        chosen = choose_aligner(source, card, self._choice, progress)
        report = realign(self.store, chosen, choice=self._choice, progress=progress)
        build_search_index(self.store, report.images, progress)
        return report

    def search(
        self,
        query: Expression | None = None,
        *,
        image: GivenImage | None = None,
        limit: int = 10,
        where: str | Filter | None = None,
        exact: bool = False,
        diverse: bool = False,
        group_by: str | None = None,
        max_candidates: int | None = None,
        max_seconds: float | None = None,
    ) -> SearchResult:
        """Find the ``limit`` images that match best: a text, an expression, its JSON tree, an ``image``, or both.

        The ``image`` is a path, an image file's bytes, an image of Pillow, or an array (h, w, 3) of uint8. A filter alone
        (``where``) has nothing to rank by: the hits come by id, without a score, and ``total`` says how many match.

        ``exact`` scans every vector instead of asking the index, as small collections always do; ``diverse`` prefers
        hits unlike each other; ``group_by`` keeps the best of each value of a field. A search that reaches
        ``max_candidates`` (5000 when left out) or ``max_seconds`` returns what it has, uncertified. The seconds count from
        the loaded models, and may be overshot by one call of the store. Raises ExpressionError for an expression that cannot
        be read.
        """
        shown = None if image is None else as_image("image", image)
        _check_question(query, where, group_by)
        for name, number in (("limit", limit), ("max_candidates", max_candidates)):
            check_kind(name, number, Integral, "a whole number")
        check_kind("max_seconds", max_seconds, Real, "a number of seconds")
        most = MAX_CANDIDATES if max_candidates is None else max_candidates
        wanted = Wanted(limit, exact, diverse, group_by, most, max_seconds)

        def answer(now: Snapshot) -> SearchResult:
            tree, searcher = now.asked_and_loaded(query, where, shown), now.searcher()
            scanned = replace(wanted, exact=exact or is_scanned(searcher.calibration.count))
            return searcher.search(tree, scanned)

        return self._snapshots.ask(answer)

    def mine(self, query: Expression | None = None, *, where: str | Filter | None = None) -> Mined:
        """Find every image that satisfies the constraints, in ascending order of id, in memory that stays constant.

        An iterator of hits, with the ``plan`` that finds them. A bare text holds for what lies above the default threshold.
        Raises ExpressionError as ``search`` does; CollectionReplacedError when another collection takes this one's place
        after the first hit, so that the others would not belong to it.
        """
        _check_question(query, where)
        return self._snapshots.ask(
            lambda now: of_one_collection(now.searcher().mine(now.asked_and_loaded(query, where)))
        )

    def count(
        self, query: Expression | None = None, *, where: str | Filter | None = None, approx: bool = False
    ) -> Count:
        """Count the images that satisfy the constraints: exactly, or from the sample with a 95 % interval."""
        _check_question(query, where)
        return self._snapshots.ask(
            lambda now: now.searcher().count(now.asked_and_loaded(query, where), approximate=approx)
        )

    def load_models(
        self,
        query: Expression | None = None,
        *,
        image: GivenImage | None = None,
        where: str | Filter | None = None,
    ) -> None:
        """Load the models that a question needs, which its first asking does otherwise; the store is not opened for it.

        Raises ExpressionError as ``search`` does.
        """
        shown = None if image is None else as_image("image", image)
        _check_question(query, where)
        self._snapshots.ask_what_was_read(lambda now: now.load_models(now.asked(query, shown, where)))

    def remove(
        self,
        query: Expression | None = None,
        *,
        where: str | Filter | None = None,
        ids: str | Iterable[str] = (),
        dry_run: bool = False,
    ) -> list[str]:
        """Take images out of the collection, those that ``mine`` finds or those of these ``ids``; return their ids.

        Ids that the collection does not have are passed over. Image files are left alone, so that indexing them again
        brings them back. ``dry_run`` removes nothing. Raises UsageError unless either constraints or ids are given.
        """
        snapshot = self._snapshots.made()
        named = as_list("ids", ids)
        if bool(named) == (query is not None or where is not None):
            raise UsageError("say which images to remove: by constraints, or by ids")
        found = present(snapshot.store, named) if named else [hit.id for hit in self.mine(query, where=where)]
        if found and not dry_run:
            self._snapshots.ask(lambda now: remove_images(now.store, found))
        return found

    def facets(
        self, field: str, query: Expression | None = None, *, where: str | Filter | None = None, limit: int = 20
    ) -> Facets:
        """Count a payload field's values among the images that satisfy the constraints, most frequent first.

        Without constraints the store's index counts where the field has one. Raises UsageError, naming the nearest ones,
        for a field that no image has.
        """
        _check_question(query, where, field)
        return self._snapshots.ask(lambda now: now.facets(field, query, where, limit))

    def expression(
        self,
        query: Expression | None = None,
        *,
        image: GivenImage | None = None,
        where: str | Filter | None = None,
    ) -> str:
        """Write what is asked for as one expression, which finds the same again; it is kept with exported hits.

        Raises ExpressionError as ``search`` does, UsageError for an image in memory, which no expression can name.
        """
        if image is not None and not isinstance(as_image("image", image), str | Path):
            raise UsageError("an image in memory cannot be written into an expression: save it, and give its path")
        _check_question(query, where)
        if isinstance(query, str) and image is None and where is None:
            return query
        return self._snapshots.ask_what_was_read(lambda now: unparse(now.asked(query, image, where)))

    @property
    def concepts(self) -> dict[str, SavedConcept]:
        """The concepts saved with the collection, by name; an expression uses one as ``@name``."""
        return self._snapshots.ask(lambda now: dict(now.concepts()))

    def duplicates(self, near: float = NEAR) -> Duplicates:
        """Find the images that are there several times: the same bytes, or a cosine of at least ``near``; largest group first.

        Each group stands from the best image, the one to keep, to the worst; see ``find_duplicates``.
        """
        return self._snapshots.ask(lambda now: find_duplicates(now.store, near))

    def add_concept(
        self,
        name: str,
        yes: GivenImage | Iterable[GivenImage] = (),
        no: GivenImage | Iterable[GivenImage] = (),
        *,
        texts: str | Iterable[str] = (),
    ) -> SavedConcept:
        """Save a concept learnt from images that show it and images that do not, and from the ``texts`` that name it.

        Images are paths, image files' bytes, images of Pillow, or arrays (h, w, 3) of uint8: one, or several in a list.
        Several texts for one thing find it more reliably than any of them (``benchmarks.paraphrase``). Replaces a concept
        of that name. Raises ImageError for an image that cannot be read, UsageError without an example and without a text.
        """
        check_kind("name", name, str, "a text")
        shown, others, worded = as_images("yes", yes), as_images("no", no), as_list("texts", texts)

        def learn(now: Snapshot) -> SavedConcept:
            concept = now.learn_concept(name, shown, others, worded)
            save_concept(now.store, concept)  # refused when the collection is in another space meanwhile
            return concept

        return self._snapshots.ask(learn)

    def remove_concept(self, name: str) -> None:
        """Forget a saved concept. Raises UsageError, naming those there are, when there is none of that name."""
        self._snapshots.ask(lambda now: forget_concept(now.store, name))

    @property
    def fit_report(self) -> FitReport | None:
        """How good the collection's aligner is; None when it needs none, or nothing is made yet."""
        snapshot = self._snapshots.current()
        return None if snapshot is None else snapshot.fit_report()

    def summary(self) -> dict[str, Any]:
        """Describe the collection in plain values: models, dimensions, number of images, fit report, failures."""
        return self._snapshots.ask(Snapshot.summary)

    def refresh(self) -> None:
        """Read what the collection keeps beside its points anew; each call looks for changes by itself."""
        self._snapshots.refresh()

    def release(self) -> None:
        """Let other processes use an embedded collection, until this one is used again."""
        self.store.release()

    def close(self) -> None:
        """Release the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        snapshot = self._snapshots.last
        made = "nothing read yet" if snapshot is None else f"{snapshot.card.backbone.id} for {snapshot.card.clip.id}"
        return f"<Collection {self.name!r} in {redact(self.store.location)}: {made}>"


def _check_question(query: Expression | None, where: str | Filter | None, field: str | None = None) -> None:
    """Raise UsageError for what is no question by its type."""
    check_kind("query", query, (str, Mapping, Node), "a text, an expression, its JSON tree, or a constraint")
    check_kind("where", where, (str, Node), "conditions on fields as text, or a filter")
    check_kind("field", field, str, "the name of a payload field")


def _tell_nobody(text: str) -> None:
    """Pass over what is told."""
