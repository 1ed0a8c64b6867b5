"""Bring a collection in line with images: list them, embed what is new or changed, then its search index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from t2c_search.collection.making import Asked, agree, make
from t2c_search.collection.search_index import build_search_index
from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.errors import StoreError, UsageError
from t2c_search.indexing.batching import Batching
from t2c_search.indexing.embedder import Embedder, LocalEmbedder
from t2c_search.indexing.pipeline import Run, index_images
from t2c_search.indexing.ray.cluster import Cluster, import_ray
from t2c_search.indexing.ray.embedder import RayEmbedder
from t2c_search.indexing.removal import absolute_roots, refuse_emptied
from t2c_search.indexing.report import IndexReport
from t2c_search.profile import LIST
from t2c_search.progress import Monitor, Progress
from t2c_search.settings import load_settings
from t2c_search.sources import ImageList, list_images, require_images
from t2c_search.sources.listing import list_known
from t2c_search.sources.remarks import Remark
from t2c_search.state.fields import field_types, remember_fields
from t2c_search.stores.protocol import FieldType

if TYPE_CHECKING:
    from t2c_search.indexing.embedding import EmbeddedBatch

IndexEngine = Literal["local", "ray"]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where images are listed: paths, their table of captions, seconds between frames of a video, the column of tables.

    What a pattern of ``exclude`` matches is passed over; tables may name private addresses with ``allow_private``. ``sync``:
    what is gone from there leaves the collection. Without ``allow_empty`` there must be an image.
    """

    paths: Sequence[str]
    captions: str | Path | None
    every: float
    image_column: str
    exclude: tuple[str, ...]
    allow_private: bool
    sync: bool
    allow_empty: bool

    def images(self, types: Mapping[str, FieldType], progress: Progress) -> ImageList:
        """List the images. Raises UsageError for sources that do not exist."""
        list_them = list_images if self.allow_empty else require_images
        return list_them(
            self.paths,
            captions=self.captions,
            every=self.every,
            image_column=self.image_column,
            exclude=self.exclude,
            allow_private=self.allow_private,
            types=types,
            progress=progress,
        )


def choose_embedder(engine: IndexEngine, batching: Batching, cluster: Cluster, location: str) -> Embedder:
    """Return where images go through models: this process, or a Ray cluster, which has the key of the store there."""
    if engine == "local":
        return LocalEmbedder(batching)
    import_ray()  # before anything else is done for nothing
    return RayEmbedder(cluster, batching, load_settings().key_for(location))


def begin_run(snapshot: Snapshot, monitor: Monitor) -> Run:
    """Return a run into a collection that is there."""
    return Run(snapshot.store, snapshot.models.load_image_side, monitor)


def index_sources(
    snapshots: Snapshots, sources: Sources, asked: Asked, embedder: Embedder, monitor: Monitor
) -> IndexReport:
    """Bring a collection in line with sources, and make it first where it is not there; see ``Collection.index``."""
    types, snapshot = asked.fields, snapshots.current()
    if snapshot is not None:
        agree(snapshots.store, snapshot.models, asked)
        snapshot = snapshots.made()  # with the fields that are indexed from now on
        types = field_types(snapshot.header.spec)
    with monitor.clock.measure(LIST):
        inputs = sources.images(types, monitor.progress)
        roots = absolute_roots(sources.paths) if sources.sync else []
    if snapshot is not None:
        refuse_emptied(snapshot.store, roots, inputs)
    elif not inputs:
        raise UsageError(
            f"no image in {', '.join(sources.paths)}: collection {snapshots.store.collection!r} is made with a first set of "
            "images, on which an aligner is fitted unless the backbone is the CLIP model; index some, and watch an empty "
            "folder then"
        )
    embedded: Sequence[EmbeddedBatch] = ()
    if snapshot is None:
        made = make(snapshots.store, asked, inputs, embedder, monitor)
        if not made.is_there:
            return _told(IndexReport.of_failures(made.fitted.failures), inputs, monitor)
        snapshot, embedded = snapshots.made(), made.fitted.embedded
    report = bring_in_line(inputs, begin_run(snapshot, monitor), embedder, sync=roots, embedded=embedded)
    return _told(report, inputs, monitor)


def index_known(
    run: Run,
    paths: Sequence[str],
    batching: Batching,
    *,
    captions: str | Path | None = None,
    exclude: Sequence[str] = (),
    gone: Sequence[str] = (),
) -> IndexReport:
    """Index again images that a listing gave these paths, and delete those that are gone."""
    with run.monitor.clock.measure(LIST):
        inputs = list_known(paths, captions=captions, types=field_types(run.store.spec()), exclude=exclude)
    report = bring_in_line(inputs, run, LocalEmbedder(batching), sync=gone)
    return _told(report, inputs, run.monitor)


def bring_in_line(
    inputs: ImageList,
    run: Run,
    embedder: Embedder,
    *,
    sync: Sequence[str],
    embedded: Sequence[EmbeddedBatch] = (),
) -> IndexReport:
    """Index the images into a collection that is made; see ``index_images``.

    The images are there when their search index cannot be built, so that this is a remark of the report, not an error.
    """
    remember_fields(run.store, (name for item in inputs for name in item.fields))
    report = index_images(inputs, run, embedder, sync=sync, embedded=embedded)
    try:
        build_search_index(run.store, report.indexed + report.renamed + report.copied, run.monitor.progress)
    except StoreError as exc:
        kind = "the search index was not brought up to date, and searches scan what it lacks; the next t2c index tries again"
        return replace(report, remarks=(*report.remarks, Remark(kind, 1, str(exc))))
    return report


def _told(report: IndexReport, inputs: ImageList, monitor: Monitor) -> IndexReport:
    """Return a report with the time that all took, and with what the listing remarked."""
    return replace(report, seconds=monitor.clock.elapsed, remarks=(*inputs.remarks, *report.remarks))
