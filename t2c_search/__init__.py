"""Search images by text constraints, with any vision backbone aligned to CLIP space, on Qdrant.

    import t2c_search as t2c

    photos = t2c.open_collection("photos", store="./photos.t2c", backbone="timm:resnet50.a1_in1k")
    photos.index(["~/Pictures"])
    for hit in photos.search("a dog on a beach", limit=10):
        print(hit.rank, hit.score, hit.path)

Importing the package imports no model library: the names below load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2c_search.alignment.aligner import Aligner
    from t2c_search.alignment.fit import FitReport
    from t2c_search.collection import Collection, open_collection
    from t2c_search.collection.fitting import fit
    from t2c_search.collection.managing import copy_collection, delete_collection, list_collections, rename_collection
    from t2c_search.errors import T2CError
    from t2c_search.export.files import export_hits
    from t2c_search.indexing.report import IndexReport
    from t2c_search.query.language.syntax import parse
    from t2c_search.types import Certificate, Contribution, Failure, Hit, SearchResult

_HOMES = {
    "Aligner": "t2c_search.alignment.aligner",
    "Certificate": "t2c_search.types",
    "Collection": "t2c_search.collection",
    "Contribution": "t2c_search.types",
    "Failure": "t2c_search.types",
    "FitReport": "t2c_search.alignment.fit",
    "Hit": "t2c_search.types",
    "IndexReport": "t2c_search.indexing.report",
    "SearchResult": "t2c_search.types",
    "T2CError": "t2c_search.errors",
    "copy_collection": "t2c_search.collection.managing",
    "delete_collection": "t2c_search.collection.managing",
    "export_hits": "t2c_search.export.files",
    "fit": "t2c_search.collection.fitting",
    "list_collections": "t2c_search.collection.managing",
    "open_collection": "t2c_search.collection",
    "parse": "t2c_search.query.language.syntax",
    "rename_collection": "t2c_search.collection.managing",
}

__all__ = [
    "Aligner",
    "Certificate",
    "Collection",
    "Contribution",
    "Failure",
    "FitReport",
    "Hit",
    "IndexReport",
    "SearchResult",
    "T2CError",
    "copy_collection",
    "delete_collection",
    "export_hits",
    "fit",
    "list_collections",
    "open_collection",
    "parse",
    "rename_collection",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 't2c_search' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
