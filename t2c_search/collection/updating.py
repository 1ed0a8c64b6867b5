"""Bring a collection in line with images: embed what is new or changed, here or on Ray, then its search index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from t2c_search.collection.fitting import Batching
from t2c_search.collection.models import Models
from t2c_search.collection.search_index import build_search_index
from t2c_search.errors import StoreError
from t2c_search.indexing.pipeline import index_images
from t2c_search.indexing.ray.cluster import Cluster
from t2c_search.indexing.ray.distributed import embed_on_ray
from t2c_search.indexing.report import IndexReport
from t2c_search.profile import StageClock
from t2c_search.progress import Progress
from t2c_search.settings import load_settings
from t2c_search.state.aligner import read_aligner
from t2c_search.state.fields import remember_fields
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore

if TYPE_CHECKING:
    from t2c_search.indexing.embedding import EmbeddedBatch
    from t2c_search.indexing.pipeline import Run
    from t2c_search.indexing.writer import Writer
    from t2c_search.sources import ImageInput


def bring_in_line(
    store: VectorStore,
    models: Models,
    inputs: Sequence[ImageInput],
    *,
    batching: Batching,
    sync: Sequence[str] = (),
    embedded: Sequence[EmbeddedBatch] = (),
    elsewhere: Callable[[Iterator[ImageInput], Run, Writer], None] | None = None,
    progress: Progress | None = None,
    clock: StageClock | None = None,
) -> IndexReport:
    """Index the images into a collection that is made, in this process or ``elsewhere``; see ``index_images``.

    The images are there when their search index cannot be built, so that this is a warning of the report, not an error.
    """
    remember_fields(store, (name for item in inputs for name in item.fields))
    report = index_images(
        inputs,
        store=store,
        load_encoder=lambda: models.backbone,
        load_projection=lambda: models.project,
        keep_native=models.card.native,
        batch_size=batching.batch_size,
        workers=batching.workers,
        sync=sync,
        embedded=embedded,
        elsewhere=elsewhere,
        progress=progress,
        clock=clock,
    )
    try:
        build_search_index(store, report.indexed + report.renamed + report.copied, progress)
    except StoreError as exc:
        warning = (
            "the search index was not brought up to date, so that searches scan what it lacks; the next t2c index tries "
            f"again: {exc}"
        )
        return replace(report, warnings=(*report.warnings, warning))
    return report


def on_ray(
    store: VectorStore, models: Models, batching: Batching, cluster: Cluster
) -> Callable[[Iterator[ImageInput], Run, Writer], None]:
    """Return what embeds inputs on Ray, whose workers load the collection's models and open its store for themselves."""
    from t2c_search.alignment.aligner import Aligner

    card, key = models.card, load_settings().api_key
    aligner = read_aligner(store).to_bytes() if card.aligned else b""
    return partial(
        embed_on_ray,
        store=store,
        load_model=Models(card, models.choice, partial(Aligner.from_bytes, aligner)).load_image_side,
        open_store=partial(open_store, store.location, store.collection, api_key=key),
        batch_size=batching.batch_size,
        cluster=cluster,
        keep_native=card.native,
    )
