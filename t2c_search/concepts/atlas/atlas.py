"""A map of a collection, made in two readings: one of what it is fitted on, one of all images in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.atlas.clusters import MOST_CLUSTERS, find_centres, nearest_centre, number_for, set_apart
from t2c_search.concepts.atlas.layout import Method, Place, check_method, choose_method, fit_layout
from t2c_search.concepts.atlas.naming import Tally, Trait, name_clusters, traits_of
from t2c_search.concepts.vocabulary import Vocabulary
from t2c_search.errors import UsageError
from t2c_search.progress import NoProgress, Progress
from t2c_search.query.execution.searcher import Searcher
from t2c_search.query.language.constraints import Constraint
from t2c_search.results import Column, Tabular
from t2c_search.state.derived import derived_field
from t2c_search.types import CLIP, FloatArray

MOST_FITTED = 20_000
"""Images that clusters and layout are fitted on; ids are hashes, so that those of lowest id are a uniform sample."""
_TRAITS = 8  # words kept of a cluster
_LEAST = 3


@dataclass(frozen=True, slots=True)
class AtlasOptions:
    """How a map is made: ``clusters`` by ``number_for`` if None, ``layout`` by ``choose_method``; ``seed`` decides the rest.

    ``write`` names the derived field that its clusters' names are to be written to. Raises UsageError for what cannot be.
    """

    clusters: int | None = None
    layout: Method | None = None
    seed: int = 0
    write: str | None = None

    def __post_init__(self) -> None:
        if self.clusters is not None and not 2 <= self.clusters <= MOST_CLUSTERS:
            raise UsageError(f"{self.clusters} clusters cannot be made; expected 2 to {MOST_CLUSTERS}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed {self.seed} cannot be used; expected 0 to {2**32 - 1}")
        if self.layout is not None:
            check_method(self.layout)
        _ = self.field  # refused now rather than when all is drawn

    @property
    def field(self) -> str | None:
        """The derived field that is asked for."""
        return None if self.write is None else derived_field(self.write)


@dataclass(frozen=True, slots=True)
class AtlasCluster:
    """Images that are alike: a name of its own, how many they are, and the words that set them apart, strongest first."""

    name: str
    size: int
    traits: tuple[Trait, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Atlas(Tabular):
    """A map of n images in ascending order of id: ``places`` (n, 2) float32, and ``labels`` (n,), numbers of ``clusters``.

    The clusters stand largest first. ``layout`` says what laid them out, and ``fitted`` on how many images; the others were
    placed beside those. ``vocabulary`` says in which words the clusters are named, and ``field`` where their names were written,
    if they were.
    """

    ids: Sequence[str]
    places: FloatArray
    labels: npt.NDArray[np.int32]
    clusters: tuple[AtlasCluster, ...]
    layout: Method
    fitted: int
    vocabulary: str
    field: str | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def names(self) -> list[str]:
        """Return the name of each image's cluster."""
        return [self.clusters[label].name for label in self.labels]

    def told(self) -> str:
        """Say in a sentence what the map shows and how it was made."""
        made = {"umap": "UMAP", "pca": "their first two principal components"}[self.layout]
        fitted = "" if self.fitted == len(self) else f", fitted on {self.fitted:,} of them"
        return f"{len(self):,} images in {len(self.clusters)} clusters, laid out by {made}{fitted}"

    def columns(self) -> Mapping[str, Column]:
        """Return one row for each image: ``id``, ``x``, ``y``, and the name of its ``cluster``."""
        x, y = self.places.T
        return {"id": list(self.ids), "x": x, "y": y, "cluster": self.names()}

    def to_json(self) -> dict[str, Any]:
        """Return the clusters in plain values, and how the map was made; the images' rows are in ``to_arrow``."""
        return {
            "images": len(self),
            "layout": self.layout,
            "fitted": self.fitted,
            "vocabulary": self.vocabulary,
            "field": self.field,
            "clusters": [asdict(cluster) for cluster in self.clusters],
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """What the first reading leaves: the mean, the clusters' centres, and what finds places."""

    mean: FloatArray
    centres: FloatArray
    place: Place
    layout: Method
    fitted: int


def draw_atlas(
    searcher: Searcher,
    tree: Constraint | None,
    vocabulary: Vocabulary,
    options: AtlasOptions,
    progress: Progress | None = None,
) -> Atlas:
    """Make a map of the images that satisfy a tree (None: of all), its clusters named in the words of a vocabulary.

    Clusters and layout are fitted on at most ``MOST_FITTED`` images, and the words of a cluster are measured on all. Of an
    image only its id, its place and its cluster's number are held. Raises UsageError for fewer than three images.
    """
    told = progress or NoProgress()
    told.start(None, "fitting the map")
    sample = _first_rows(searcher.read(tree), MOST_FITTED)
    if len(sample) < _LEAST:
        raise UsageError(f"a map is made of at least {_LEAST} images, and {len(sample)} match")
    fit = _fit(sample, options)
    known = searcher.texts.rows(vocabulary.names)
    tally = Tally(len(fit.centres), len(vocabulary))
    ids: list[str] = []
    places, labels = [], []
    told.start(None, "placing images")
    for points in searcher.read(tree):
        rows = points.vectors[CLIP]
        apart = set_apart(rows, fit.mean)
        labels.append(nearest_centre(apart, fit.centres))
        places.append(fit.place(apart))
        tally.add(labels[-1], (rows - fit.mean) @ known.T)
        ids += points.ids
        told.advance(len(points))
    drawn = Atlas(
        ids,
        np.concatenate(places),
        np.concatenate(labels),
        (),
        fit.layout,
        fit.fitted,
        vocabulary.source,
        options.field,
    )
    return _named(drawn, tally, vocabulary.names)


def _first_rows(batches: Iterator[Any], most: int) -> FloatArray:
    """Return the vectors of the first images, (at most ``most``, d)."""
    taken: list[FloatArray] = []
    held = 0
    for points in batches:
        taken.append(points.vectors[CLIP][: most - held])
        held += len(taken[-1])
        if held == most:
            break
    return np.concatenate(taken) if taken else np.empty((0, 0), np.float32)


def _fit(sample: FloatArray, options: AtlasOptions) -> _Fit:
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    apart = set_apart(sample, mean)
    method = choose_method(options.layout, len(sample))
    centres = find_centres(apart, options.clusters or number_for(len(sample)), options.seed)
    return _Fit(mean, centres, fit_layout(apart, method, options.seed), method, len(sample))


def _named(drawn: Atlas, tally: Tally, words: Sequence[str]) -> Atlas:
    """Return a map with its clusters, numbered anew from the largest on; those that are empty are gone."""
    order = [int(at) for at in np.argsort(-tally.counts, kind="stable") if tally.counts[at]]
    number = np.full(len(tally.counts), -1, np.int32)
    number[order] = np.arange(len(order))
    traits = [traits_of(tally.effects(at), words, _TRAITS) for at in order]
    clusters = tuple(
        AtlasCluster(name, int(tally.counts[at]), own)
        for name, at, own in zip(name_clusters(traits), order, traits, strict=True)
    )
    return replace(drawn, labels=number[drawn.labels], clusters=clusters)
