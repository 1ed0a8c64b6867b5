"""Where texts are met in images whose factors are kept: one small product, and no image opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2c_search.collection.removing import present
from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.errors import UsageError, redact
from t2c_search.query.language.bounds import check_texts
from t2c_search.query.planning.regions import AT_ONCE
from t2c_search.results import Column, Hit, Tabular
from t2c_search.sources.arguments import as_list
from t2c_search.types import CLIP, FACTORS, FloatArray, Points


@dataclass(frozen=True, slots=True, eq=False)
class Located(Tabular):
    """Where k texts are met in n images.

    A map has a value for each place of the grid that lies over what the model sees of the image: all of it, or its middle where
    its preprocessing crops. It sums to the text's score about the collection's mean, so that a place is above 0 where it
    speaks for the text more than an image's place does on average.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    texts: tuple[str, ...]
    maps: tuple[FloatArray, ...]
    """One for each image, (k, rows, columns)."""
    method: str
    """The way the factors were made, a name of ``attribution.methods.METHODS``."""

    def columns(self) -> Mapping[str, Column]:
        """Return a row for each image and text: its map's sum, and its highest place, (down, across) in shares of the grid."""
        flat = [each.reshape(len(self.texts), -1) for each in self.maps]
        down, across = zip(*(self._peak(each) for each in self.maps), strict=True) if self.maps else ((), ())
        return {
            "id": [each for each in self.ids for _ in self.texts],
            "path": [each for each in self.paths for _ in self.texts],
            "text": [text for _ in self.ids for text in self.texts],
            "score": [float(each.sum()) for values in flat for each in values],
            "down": [float(each) for values in down for each in values],
            "across": [float(each) for values in across for each in values],
        }

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values."""
        return {
            "texts": list(self.texts),
            "method": self.method,
            "images": [
                {"id": point, "path": redact(path), "maps": each.round(6).tolist()}
                for point, path, each in zip(self.ids, self.paths, self.maps, strict=True)
            ],
        }

    def _peak(self, maps: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the middle of each map's highest place, in shares of the grid's height and width, (k,) each."""
        _, rows, columns = maps.shape
        down, across = np.divmod(maps.reshape(len(maps), -1).argmax(1), columns)
        return ((down + 0.5) / rows).astype(np.float32), ((across + 0.5) / columns).astype(np.float32)


class Locating:
    """Where texts are met in images whose factors are kept."""

    _snapshots: Snapshots

    def locate(self, texts: str | Iterable[str], hits: str | Hit | Iterable[str | Hit]) -> Located:
        """Say where each of some texts is met in images: the ``hits`` of a search, or images of the collection by their ids.

        The collection must have been indexed with ``explainable``: its factors answer for any text, in the order of a
        millisecond an image, and no image is opened. Raises UsageError for a collection that keeps none, for an image that it
        does not have, and for one whose factors are not there yet.
        """
        named = [hits] if isinstance(hits, str | Hit) else list(hits)
        ids = tuple(dict.fromkeys(each.id if isinstance(each, Hit) else each for each in named))
        worded = tuple(as_list("texts", texts))
        check_texts(worded)
        if not worded or not all(text.strip() for text in worded):
            raise UsageError("say what to look for: one text or several, none of them empty")
        return self._snapshots.ask(lambda now: locate(now, worded, ids))


def locate(now: Snapshot, texts: tuple[str, ...], ids: tuple[str, ...]) -> Located:
    """Read the maps of texts in images off their factors."""
    searcher = now.searcher()
    if (reader := searcher.known.factors) is None:
        raise UsageError(
            f"collection {now.store.collection!r} keeps no factors of its images, which tell where a text is met: run t2c index "
            "--explainable on the same folders again"
        )
    rows = searcher.texts.rows(texts)
    paths: list[str] = []
    found: list[FloatArray] = []
    for points in _in_order(now, ids, (CLIP, *reader.vectors)):
        paths += [str(payload.get("path", "")) for payload in points.payloads]
        maps: dict[int, FloatArray] = {}
        for at, factors in reader.read(points):
            values = factors.maps(points.vectors[CLIP][at], rows, searcher.calibration.mean)
            maps |= zip(at, values.reshape(len(at), len(texts), *factors.grid), strict=True)
        found += [maps[row] for row in range(len(points))]
    return Located(ids, tuple(paths), texts, tuple(found), reader.method)


def _in_order(now: Snapshot, ids: Sequence[str], vectors: tuple[str, ...]) -> Iterator[Points]:
    """Yield images in batches, in the order asked for. Raises UsageError where one is not there, or has no factors."""
    for start in range(0, len(ids), AT_ONCE):
        part = ids[start : start + AT_ONCE]
        known = present(now.store, part)
        if missing := [each for each in part if each not in known]:
            raise UsageError(f"the collection has no image of the id {missing[0]!r}")
        points = now.store.fetch(part, vectors=vectors)
        for payload, codes in zip(points.payloads, points.multivectors[FACTORS], strict=True):
            if not len(codes):
                raise UsageError(f"{payload.get('path')} has no factors yet: run t2c index on its folder again")
        yield points
