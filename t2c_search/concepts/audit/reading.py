"""What an audit knows of all images: some numbers of each, read in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from t2c_search.concepts.audit.findings import Floats, as_text
from t2c_search.decoding.decode import decode
from t2c_search.decoding.look import FIGURES, LOOK, SIDE, look
from t2c_search.decoding.metadata import CAPTIONS
from t2c_search.errors import T2CError, UsageError
from t2c_search.query.execution.searcher import Searcher
from t2c_search.query.language.constraints import Constraint
from t2c_search.sources import read_image
from t2c_search.statistics import VectorStatistics
from t2c_search.types import CLIP, NATIVE, FloatArray, Payload, Points, unit_rows

HELD = 30_000
"""Images up to which every pair is compared, by the backbone's own vectors where they are kept: 150 MiB of them at 1280-d.
Beyond, each asks the store's index for its nearest in CLIP space, and about 250 bytes an image are held."""
MOST_VALUES = 500
"""Values of a field that are compared with one another: what a label has, and not a name or a date."""
NO_VALUE = -1
_PRINT = 16  # bytes


@dataclass(frozen=True, slots=True)
class Geometry:
    """The collection's own: unit rows (n, d) less their mean, in units of how much they vary in each direction."""

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, statistics: VectorStatistics) -> Geometry:
        """Return that of n unit rows (d,) with these statistics, their covariance shrunk to a ball as if by d more images.

        Few images tell the directions badly in which they hardly vary: with fewer than d there are some without any.
        """
        values, axes = np.linalg.eigh(statistics.covariance)
        own = statistics.count / (statistics.count + statistics.dim)
        varied = own * np.maximum(values, 0) + (1 - own) * max(values.mean(), 1e-12)
        return cls(statistics.mean, axes / np.sqrt(varied))

    def place(self, rows: FloatArray) -> FloatArray:
        """Map rows (n, d) of any length into it; their lengths there are Mahalanobis distances from the mean."""
        return ((unit_rows(rows) - self.mean) @ self.scale).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Of n images, in ascending order of id: ids, values as codes (n,) into ``names``, how they look (n, 3), their prints
    (n, 16) where ``printed``, sizes (n, 2) in pixels; their geometry under ``vector``, and, of few, their rows in it.
    """

    ids: list[str]
    codes: npt.NDArray[np.int32]
    names: tuple[str, ...]
    look: Floats
    prints: npt.NDArray[np.uint8]
    printed: npt.NDArray[np.bool_]
    sizes: npt.NDArray[np.int32]
    captioned: int
    several: int
    """Images with a list in the field, which says nothing that others could contradict."""
    vector: str
    geometry: Geometry
    rows: FloatArray | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which images of a collection are audited, by which field, and whether those without figures are opened for them."""

    searcher: Searcher
    tree: Constraint | None
    field: str | None = None
    look: bool = False

    def read(self, vectors: Sequence[str], fields: Sequence[str]) -> Iterator[Points]:
        """Yield the images, in ascending order of id, in batches."""
        return self.searcher.read(self.tree, vectors=tuple(vectors), payload=tuple(fields))

    def value(self, payload: Payload) -> Any:
        """Return what an image has in the field, None where nothing."""
        found: Any = payload
        for part in (self.field or "").split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return found


def read_all(chosen: Chosen) -> Known:
    """Read all images once. Raises UsageError where there is none, and for a field of too many values or of none."""
    store = chosen.searcher.store
    few = store.count() <= HELD
    vector = NATIVE if few and NATIVE in store.spec().vectors else CLIP
    statistics = VectorStatistics(store.spec().dims[vector], 1)
    asked = ["path", "width", "height", LOOK, CAPTIONS, *([chosen.field] if chosen.field else [])]
    columns = _Columns(chosen)
    held: list[FloatArray] = []
    for points in chosen.read((vector,), asked):
        rows = unit_rows(points.vectors[vector])
        statistics.add(points.ids, rows)
        columns.add(points)
        if few:
            held.append(rows)
    if not columns.ids:
        raise UsageError("there is no image to audit: leave out the condition, or index some first")
    columns.check()
    geometry = Geometry.of(statistics)
    return columns.known(vector, geometry, geometry.place(np.concatenate(held)) if few else None)


class _Columns:
    """Collects what is known of each image."""

    def __init__(self, chosen: Chosen) -> None:
        self.ids: list[str] = []
        self._chosen = chosen
        self._names: dict[str, int] = {}
        self._codes: list[int] = []
        self._seen: list[npt.NDArray[np.float32]] = []
        self._prints: list[bytes] = []
        self._sizes: list[tuple[int, int]] = []
        self._captioned = self._several = 0

    def add(self, points: Points) -> None:
        if self._chosen.look:
            _look_at(self._chosen, points)
        self.ids += points.ids
        for payload in points.payloads:
            self._codes.append(self._code(self._chosen.value(payload)) if self._chosen.field else NO_VALUE)
            seen = payload.get(LOOK) or {}
            self._seen.append(np.array([seen.get(name, np.nan) for name in FIGURES], np.float32))
            self._prints.append(bytes.fromhex(seen.get("print", "")))
            self._sizes.append((payload.get("width", 0), payload.get("height", 0)))
            self._captioned += bool(payload.get(CAPTIONS))

    def _code(self, value: Any) -> int:
        if isinstance(value, list):
            self._several += 1
            return NO_VALUE
        if value is None or isinstance(value, dict):
            return NO_VALUE
        code = self._names.setdefault(as_text(value), len(self._names))
        if code >= MOST_VALUES:
            raise UsageError(
                f"the field {self._chosen.field!r} has more than {MOST_VALUES} values, so that no image says what another's "
                "should be: name a field such as a label or a split"
            )
        return code

    def check(self) -> None:
        """Raise UsageError for a field without two values."""
        if self._chosen.field and len(self._names) < 2:
            there = f"only the value {next(iter(self._names))!r}" if self._names else "no value"
            raise UsageError(
                f"the field {self._chosen.field!r} has {there} in these images: an audit by a field needs two at least"
            )

    def known(self, vector: str, geometry: Geometry, rows: FloatArray | None) -> Known:
        printed = np.array([len(each) == _PRINT for each in self._prints])
        prints = b"".join(each if len(each) == _PRINT else bytes(_PRINT) for each in self._prints)
        return Known(
            self.ids,
            np.array(self._codes, np.int32),
            tuple(self._names),
            np.array(self._seen, np.float64),
            np.frombuffer(prints, np.uint8).reshape(-1, _PRINT),
            printed,
            np.array(self._sizes, np.int32),
            self._captioned,
            self._several,
            vector,
            geometry,
            rows,
        )


def _look_at(chosen: Chosen, points: Points) -> None:
    """Open the images of a batch that were indexed without figures, and store theirs; one that cannot be read has none."""
    for point_id, payload in zip(points.ids, points.payloads, strict=True):
        if LOOK not in payload:
            try:
                payload[LOOK] = look(decode(read_image(payload["path"]), SIDE).pixels)
            except T2CError:
                continue
            chosen.searcher.store.update_payload([point_id], [{LOOK: payload[LOOK]}])
