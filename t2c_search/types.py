"""Value objects that every room may use. All are frozen; arrays are numpy, on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from t2c_search.errors import redact
from t2c_search.filters import Filter, PointIds

Payload = dict[str, Any]
FloatArray = npt.NDArray[np.float32]
_Float = TypeVar("_Float", np.float32, np.float64)

CLIP = "clip"
"""Name of the vector that text searches: unit rows in CLIP space."""
NATIVE = "native"
"""Name of the backbone's own vector, stored as it came (not normalised), so that a new aligner can re-project it."""
FACTORS = "factors"
"""Name of the multivector of bytes that tells which place of an image gave which part of ``clip`` (``attribution/stored.py``)."""
DERIVED = "derived"
"""Name of the payload field that holds what was made of an image later, such as labels, and that its file does not tell."""


def unit_rows(rows: npt.NDArray[_Float]) -> npt.NDArray[_Float]:
    """Return rows (n, d) scaled to length 1, of the type they have; one of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: npt.NDArray[_Float] = (rows / np.where(lengths > 0, lengths, 1)).astype(rows.dtype, copy=False)
    return scaled


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a model is, by content: hex digests of its weights and of its preprocessing."""

    weights: str
    preprocessing: str


@dataclass(frozen=True, slots=True)
class EncoderRef:
    """Which encoder made some vectors: its id, its dimension and its fingerprint."""

    id: str
    dim: int
    fingerprint: Fingerprint

    def difference(self, other: EncoderRef) -> str | None:
        """Name what the other encoder has differently; None when both give the same vectors, whatever their ids.

        Content decides, not ids: a model may lie in another folder on another machine, and a folder may have changed.
        """
        if self.fingerprint.weights != other.fingerprint.weights or self.dim != other.dim:
            return "weights"
        return "preprocessing" if self.fingerprint != other.fingerprint else None


@dataclass(frozen=True, slots=True)
class Points:
    """A batch of points in columns: n ids (UUID strings), n payloads, and per vector name an (n, d) float32 array.

    ``multivectors`` are those of several rows a point: per name n arrays (k, d) float32, with a k of its own each. A point
    that lacks a vector has a row of NaN there, or no rows.
    """

    ids: list[str]
    payloads: list[Payload] = field(default_factory=list)
    vectors: Mapping[str, FloatArray] = field(default_factory=dict)
    multivectors: Mapping[str, Sequence[FloatArray]] = field(default_factory=dict, kw_only=True)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> Points:
        """Return the points of these rows, in that order."""
        return Points(
            [self.ids[row] for row in rows],
            [self.payloads[row] for row in rows] if self.payloads else [],
            {name: each[list(rows)] for name, each in self.vectors.items()},
            multivectors={name: [each[row] for row in rows] for name, each in self.multivectors.items()},
        )

    @staticmethod
    def joined(batches: Sequence[Points]) -> Points:
        """Return several batches as one; points of a batch that has not a vector of the others lack it."""
        dims = {name: each.shape[1] for batch in batches for name, each in batch.vectors.items()}
        multi = dict.fromkeys(name for batch in batches for name in batch.multivectors)
        nothing = np.empty((0, 0), np.float32)

        def rows(batch: Points, name: str) -> FloatArray:
            lacking = np.full((len(batch), dims[name]), np.nan, np.float32)
            return batch.vectors.get(name, lacking)

        return Points(
            [point_id for batch in batches for point_id in batch.ids],
            [payload for batch in batches for payload in batch.payloads],
            {name: np.concatenate([rows(batch, name) for batch in batches]) for name in dims},
            multivectors={
                name: [each for batch in batches for each in batch.multivectors.get(name, [nothing] * len(batch))]
                for name in multi
            },
        )


@dataclass(frozen=True, slots=True)
class ScoredPoints(Points):
    """Points in descending order of ``scores``, (n,) float32: the dot product with the query, higher is better."""

    scores: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """One search: the ``limit`` points of highest dot product with ``vector`` (d,) float32 among those that match.

    ``min_score`` keeps points whose score is at least that, up to float32 rounding on the keeping side: a caller that
    needs the exact set verifies the returned vectors. Where points have several rows, ``vector`` is (k, d), and the score
    the sum, over its rows, of the highest dot product with any row of the point. ``exact`` scans every vector; otherwise the
    index answers, looking at ``hnsw_ef`` neighbours (the store's default when None). ``among`` keeps to the points that
    another search finds, in the same round trip, which returns only its own; ``offset`` passes over the first of them.
    """

    vector: FloatArray
    limit: int
    using: str = CLIP
    where: Filter | PointIds | None = None
    min_score: float | None = None
    exact: bool = False
    hnsw_ef: int | None = None
    with_vectors: tuple[str, ...] = ()
    with_payload: bool = False
    among: VectorQuery | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that was not indexed, and why."""

    path: str
    reason: str

    def redacted(self) -> Failure:
        """Return it as it is shown, without the passwords of addresses."""
        return Failure(redact(self.path), redact(self.reason))
