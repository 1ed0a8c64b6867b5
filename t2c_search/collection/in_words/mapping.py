"""A collection's map: drawn, written back to its images, and written to files with what the images look like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.concepts.atlas.atlas import Atlas, AtlasOptions, draw_atlas
from t2c_search.concepts.atlas.layout import Method
from t2c_search.concepts.vocabulary import Vocabulary
from t2c_search.errors import UsageError
from t2c_search.export.page import PAGES
from t2c_search.export.reading.map_page import THUMBNAILS, MapPage, write_map_page
from t2c_search.export.reading.map_picture import write_map_picture
from t2c_search.filters import Filter
from t2c_search.progress import Progress
from t2c_search.query.execution.searcher import Expression
from t2c_search.query.language.constraints import Constraint
from t2c_search.state.derived import write_derived
from t2c_search.stores.protocol import VectorStore


class Maps:
    """A collection's map: drawn, written back to its images, and written to files with what the images look like."""

    _snapshots: Snapshots

    def map(
        self,
        query: Expression | None = None,
        *,
        where: str | Filter | None = None,
        clusters: int | None = None,
        vocabulary: str | Path | Sequence[str] | Vocabulary | None = None,
        layout: Method | None = None,
        seed: int = 0,
        write: str | None = None,
        progress: Progress | None = None,
    ) -> Atlas:
        """Draw a map of the images that satisfy the constraints, or of all: clusters, their names, a place for each image.

        Clusters are those of k-means on unit vectors less their mean, ``clusters`` of them, or sqrt(images / 2) and at most
        24. Each is named by the concepts of the ``vocabulary`` (``Snapshot.vocabulary`` tells what may be given) with the
        highest Hedges' g (Hedges 1981, eq. 6e) of their cosines in it against all other images. Places (n, 2) float32 are
        UMAP's (McInnes et al. 2018), or the first two principal components where umap is not installed; ``layout`` decides
        otherwise. Both are fitted on at most 20,000 images and the rest is placed; of an image only id, place and number of
        cluster are held. The same images and ``seed`` give the same map.

        ``write`` names a field: expressions then find a cluster as ``derived.NAME = "..."``; images that are not on the map
        keep what they have of it. Raises UsageError for fewer than 3 images, and for what cannot be used.
        """
        options = AtlasOptions(clusters, layout, seed, write)
        return self._snapshots.ask(
            lambda now: draw_map(now, now.chosen(query, where), now.vocabulary(vocabulary), options, progress)
        )

    def write_map(
        self,
        atlas: Atlas,
        path: str | Path,
        *,
        title: str | None = None,
        note: str = "",
        thumbnails: int = THUMBNAILS,
        progress: Progress | None = None,
    ) -> None:
        """Write a map of this collection to a file: ``.html`` for a page to explore in a browser, ``.png`` for a picture.

        The page is whole in itself, less than 20 MB, and says what was left out for that; it opens images for up to
        ``thumbnails`` small pictures. Images chosen in it with the lasso become an expression and a list of paths, and a
        cluster of a map that was drawn with ``write`` one of a few words. Raises UsageError for another ending, and for a
        place that cannot be written.
        """
        shown = MapPage(title or self._snapshots.store.collection, note, thumbnails)
        self._snapshots.ask(lambda now: write_map(now, atlas, shown, Path(path), progress))


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
