"""Bring a collection in line with images: embed what is new or changed, then its search index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from t2c_search.collection.search_index import build_search_index
from t2c_search.errors import StoreError
from t2c_search.indexing.pipeline import Run, index_images
from t2c_search.indexing.report import IndexReport
from t2c_search.sources.remarks import Remark
from t2c_search.state.fields import remember_fields

if TYPE_CHECKING:
    from t2c_search.indexing.embedder import Embedder
    from t2c_search.indexing.embedding import EmbeddedBatch
    from t2c_search.sources import ImageInput


def bring_in_line(
    inputs: Sequence[ImageInput],
    run: Run,
    embedder: Embedder,
    *,
    sync: Sequence[str] = (),
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
