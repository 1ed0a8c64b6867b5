"""A collection's map: drawn, written back to its images, and written to files with what the images look like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from t2c_search.collection.snapshot import Snapshot
from t2c_search.concepts.atlas.atlas import Atlas, AtlasOptions, draw_atlas
from t2c_search.concepts.vocabulary import Vocabulary
from t2c_search.errors import UsageError
from t2c_search.export.map_page import MapPage, write_map_page
from t2c_search.export.map_picture import write_map_picture
from t2c_search.export.page import PAGES
from t2c_search.progress import Progress
from t2c_search.query.language.constraints import Constraint
from t2c_search.state.derived import write_derived
from t2c_search.stores.protocol import VectorStore

_BATCH = 1000


def draw_map(
    now: Snapshot, tree: Constraint | None, vocabulary: Vocabulary, options: AtlasOptions, progress: Progress | None
) -> Atlas:
    """Draw a map, and write the name of its cluster to each of its images where that is asked for."""
    atlas = draw_atlas(now.searcher(), tree, vocabulary, options, progress)
    if atlas.field is not None:
        write_derived(now.store, atlas.field, atlas.ids, atlas.names())
    return atlas


def check_map_file(path: Path) -> None:
    """Raise UsageError for a file's name that ends as no map does."""
    if path.suffix.lower() not in (*PAGES, ".png"):
        raise UsageError(f"a map cannot be written to {path}: expected a name that ends in .html or .png")


def write_map(now: Snapshot, atlas: Atlas, shown: MapPage, path: Path, progress: Progress | None) -> None:
    """Write a map as a page for a browser or as a picture, by the file's ending."""
    check_map_file(path)
    if path.suffix.lower() in PAGES:
        write_map_page(atlas, partial(_paths, now.store), shown, path, progress)
    else:
        write_map_picture(atlas, shown.title, path)


def _paths(store: VectorStore, ids: Sequence[str]) -> Iterator[str]:
    """Yield the paths of images, "" for one that is gone."""
    for start in range(0, len(ids), _BATCH):
        part = ids[start : start + _BATCH]
        points = store.fetch(part)
        found = {id: str(payload.get("path", "")) for id, payload in zip(points.ids, points.payloads, strict=True)}
        yield from (found.get(id, "") for id in part)
