"""Statistics of a collection's vectors, kept with it so that any concept can be calibrated without a scan."""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from t2c_search.errors import CollectionFormatError
from t2c_search.types import FloatArray

SAMPLE_SIZE = 4096
"""Vectors kept for empirical percentiles: 8 MiB at 512-d; the standard error of a 1 % tail is then 0.16 points."""


class VectorStatistics:
    """Count, mean, covariance and a uniform sample of (n, dim) float32 vectors; mergeable, and correct after removals.

    The sample holds the vectors whose ids hash lowest (bottom-k sampling), so it depends on the set of ids alone and not on
    the order of additions: two indexers, or one that was killed and resumed, end with the same one. Removing a sampled
    vector leaves a smaller sample that is still uniform.
    """

    def __init__(self, dim: int, sample_size: int = SAMPLE_SIZE) -> None:
        self.dim = dim
        self.count = 0
        self._sample_size = sample_size
        self._sum = np.zeros(dim)
        self._products = np.zeros((dim, dim))
        # the sample, and up to a quarter as many beside it, so that it need not be sorted with every addition
        self._keys = np.empty(sample_size + sample_size // 4 + 1, np.uint64)
        self._rows = np.empty((len(self._keys), dim), np.float32)
        self._held = 0
        self._bound = np.uint64(np.iinfo(np.uint64).max)  # every vector whose key is below it is held

    def add(self, ids: Sequence[str], vectors: FloatArray) -> None:
        """Take in the (n, dim) vectors of n new ids."""
        self._accumulate(vectors, 1)
        self._keep(_keys(ids), vectors)

    def remove(self, ids: Sequence[str], vectors: FloatArray) -> None:
        """Take out ids that were added before with these same (n, dim) vectors."""
        self._accumulate(vectors, -1)
        self._trim()
        left = np.flatnonzero(~np.isin(self._keys[: self._held], _keys(ids)))
        if len(left) < self._held:
            self._retain(left)

    def merge(self, other: VectorStatistics) -> None:
        """Take in the statistics of a disjoint set of ids, which stay as they are."""
        self.count += other.count
        self._sum += other._sum
        self._products += other._products
        keys, rows = other._lowest()
        if (bound := other._sample_bound()) < self._bound:
            self._bound = bound
            self._retain(np.flatnonzero(self._keys[: self._held] < self._bound))
        self._keep(keys, rows)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean vector (dim,)."""
        return self._sum / max(self.count, 1)

    @property
    def covariance(self) -> npt.NDArray[np.float64]:
        """Population covariance (dim, dim)."""
        mean = self.mean
        return self._products / max(self.count, 1) - np.outer(mean, mean)

    @property
    def sample(self) -> FloatArray:
        """Uniform sample without replacement, (at most ``sample_size``, dim), in order of key."""
        return self._lowest()[1]

    def to_bytes(self) -> bytes:
        """Serialise to an npz archive."""
        stream = io.BytesIO()
        self._trim()
        keys, rows = self._lowest()
        np.savez(
            stream,
            count=np.int64(self.count),
            sum=self._sum,
            products=self._products,
            keys=keys,
            rows=rows,
            bound=self._bound,
            sample_size=np.int64(self._sample_size),
        )
        return stream.getvalue()

    def __reduce__(self) -> tuple[Callable[[bytes], VectorStatistics], tuple[bytes]]:
        """Pickle what is held, not the room for more."""
        return VectorStatistics.from_bytes, (self.to_bytes(),)

    @classmethod
    def from_bytes(cls, content: bytes) -> VectorStatistics:
        """Read what ``to_bytes`` wrote. Raises CollectionFormatError when it is something else."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                statistics = cls(len(stored["sum"]), int(stored["sample_size"]))
                statistics.count = int(stored["count"])
                statistics._sum, statistics._products = stored["sum"], stored["products"]
                statistics._keep(stored["keys"], stored["rows"])
                statistics._bound = np.uint64(stored["bound"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
            raise CollectionFormatError(
                f"the collection's statistics cannot be read ({exc}); index it again to rebuild them"
            ) from exc
        return statistics

    def _accumulate(self, vectors: FloatArray, sign: int) -> None:
        rows = vectors.astype(np.float64)
        self.count += sign * len(rows)
        self._sum += sign * rows.sum(axis=0)
        self._products += sign * (rows.T @ rows)

    def _keep(self, keys: npt.NDArray[np.uint64], rows: FloatArray) -> None:
        """Hold the rows whose keys are low enough."""
        chosen = np.flatnonzero(keys < self._bound)
        while len(chosen):
            now, chosen = np.split(chosen, [len(self._keys) - self._held])
            self._keys[self._held : self._held + len(now)] = keys[now]
            self._rows[self._held : self._held + len(now)] = rows[now]
            self._held += len(now)
            if self._held == len(self._keys):
                self._trim()
                chosen = chosen[keys[chosen] < self._bound]

    def _trim(self) -> None:
        """Let go of what exceeds the sample."""
        if self._held > self._sample_size:
            self._bound = self._sample_bound()
            self._retain(np.flatnonzero(self._keys[: self._held] < self._bound))

    def _sample_bound(self) -> np.uint64:
        """Return the key below which every vector is in the sample: lower than ``_bound`` while more is held."""
        if self._held <= self._sample_size:
            return self._bound
        bound: np.uint64 = np.partition(self._keys[: self._held], self._sample_size)[self._sample_size]
        return bound

    def _lowest(self) -> tuple[npt.NDArray[np.uint64], FloatArray]:
        """Return the sample in order of key, as copies: keys (s,), rows (s, dim)."""
        order = np.argsort(self._keys[: self._held])[: self._sample_size]
        return self._keys[order], self._rows[order]

    def _retain(self, places: npt.NDArray[np.intp]) -> None:
        """Hold only what stands at these places, in their order."""
        self._held = len(places)
        self._keys[: self._held] = self._keys[places]
        self._rows[: self._held] = self._rows[places]


def _keys(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Map n UUID strings to uniform keys: ids are name-based UUIDs, whose last 62 bits are a hash already."""
    return np.array([uuid.UUID(i).int & (2**62 - 1) for i in ids], np.uint64)
