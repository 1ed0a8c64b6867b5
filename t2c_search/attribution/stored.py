"""Factors kept with a collection's images: some kilobytes each, that say where a text is met, with no image opened.

The factors of an image are a matrix: what no place gives, spread evenly, and below it a row for each place. Of that, the best
approximation of low rank is kept, as one byte a number with a scale for each component. They are factors of CLIP space, or, in
a collection that keeps its backbone's own vectors, of the backbone's space, so that a new aligner carries them along: a
projection whose norms are held is linear, and the components are chosen in CLIP space all the same.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from t2c_search.errors import CollectionDamagedError
from t2c_search.stores.protocol import VectorSpec
from t2c_search.types import FACTORS, NATIVE, FloatArray, Points

if TYPE_CHECKING:
    import torch

    from t2c_search.alignment.aligner import Aligner
    from t2c_search.attribution.factors import PlaceFactors

MOST_BYTES = 16 << 10
"""Of one image."""
RANK = 32
"""Components at most: on photographs through MobileNets the maps of nouns then have a cosine of 0.9997 with the whole ones', with
24 components 0.998, and with 16 of them 0.992 (``benchmarks.explanations``)."""
_ROW = 256  # bytes in a row of the multivector
_HEADER = struct.Struct("<HHHH")  # rows and columns of the grid, components, dimensions
_SCALE_BYTES = 4
_LARGEST = 127
_SPARE, _STEPS = 8, 2  # of the range finder: directions beyond those wanted, and multiplications by the matrix's square

KEPT_AS = VectorSpec(_ROW, multi=True, dtype="uint8", added=True)
"""How a store keeps them."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredFactors:
    """n images' factors: ``left @ right``, (n, 1 + m, d), is the rest that no place gives, over m, then the m places'."""

    left: FloatArray
    """(n, 1 + m, r)"""
    right: FloatArray
    """(n, r, d)"""
    grid: tuple[int, int]

    def best(self, directions: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return the best cosine, over the places, of k unit directions (k, d) with n images: (n, k).

        A place's vector is the rest and m times its own factor: the image's, if all its places were like this one. It lies where
        the vectors of images lie, whatever share the place has of its own image, and is compared by its direction alone.
        """
        regions = self.left[:, :1] + self.left[:, 1:]
        gram = self.right @ self.right.transpose(0, 2, 1)
        lengths = np.sqrt(np.maximum(((regions @ gram) * regions).sum(2), 1e-30))
        dots = regions @ (self.right @ directions.T.astype(np.float32))
        best: npt.NDArray[np.float64] = (dots / lengths[:, :, None]).max(axis=1).astype(np.float64)
        return best

    def maps(self, vectors: FloatArray, directions: FloatArray, centre: npt.NDArray[np.floating]) -> FloatArray:
        """Return the maps of k directions (k, d) over n images, whose unit vectors (n, d) are stored beside: (n, k, m).

        A map sums to the score about the ``centre`` (d,), as those of ``explain.maps`` do.
        """
        given = self.left[:, 1:] @ (self.right @ directions.T)
        scores = (vectors - centre).astype(np.float32) @ directions.T
        spread = (scores - given.sum(1)) / given.shape[1]
        maps: FloatArray = (given + spread[:, None]).transpose(0, 2, 1)
        return maps

    def factors(self, vectors: FloatArray, method: str) -> PlaceFactors:
        """Return them as factors of n unit vectors (n, d), which are stored beside them."""
        import torch

        from t2c_search.attribution.factors import PlaceFactors

        rows = torch.from_numpy(self.left @ self.right)
        places = rows.shape[1] - 1
        return PlaceFactors(torch.from_numpy(vectors), places * rows[:, 0], rows[:, 1:], method, self.grid)


def encode(factors: PlaceFactors, aligner: Aligner | None, *, native: bool) -> list[FloatArray]:
    """Return the rows to store of n images, whose factors are not projected yet; ``native``: of the backbone's own space."""
    import torch

    from t2c_search.attribution.projection import hold

    rows, parts = factors.vectors, factors.parts.to(factors.vectors)
    held, places = hold(rows, aligner), parts.shape[1]
    own = torch.cat([(rows - parts.sum(1)).unsqueeze(1) / places, parts], 1)
    seen = held.map(own)
    if not native:  # otherwise it is the aligner's, whichever that is when they are read
        seen[:, 0] += held.base / places
    kept = own if native else seen
    for matrix in (own, seen):  # in every place's vector there is the rest: its error counts as often
        matrix[:, 0] *= places**0.5
    width = kept.shape[2]
    fit = (MOST_BYTES - _HEADER.size) // (1 + places + width + _SCALE_BYTES)
    rank = max(1, min(RANK, fit, 1 + places, seen.shape[2]))
    left = _components(seen, rank)
    right = left.mT @ kept
    left[:, 0] /= places**0.5
    longest = left.abs().amax(1, keepdim=True).clamp_min(1e-30)
    left, right = left * (_LARGEST / longest), right * (longest / _LARGEST).mT
    scales = right.abs().amax(2, keepdim=True).clamp_min(1e-30) / _LARGEST
    head = _HEADER.pack(*factors.grid, rank, width)
    return _packed(head, scales.squeeze(2), left.round(), (right / scales).round())


def decode(codes: Sequence[FloatArray]) -> list[tuple[list[int], StoredFactors]]:
    """Read stored rows of images back: those of one layout together, with the places that they have in ``codes``.

    Images without any are left out. Raises CollectionDamagedError for rows that ``encode`` did not write.
    """
    layouts: dict[bytes, list[int]] = {}
    for at, rows in enumerate(codes):
        if len(rows):
            layouts.setdefault(rows[0, : _HEADER.size].astype(np.uint8).tobytes(), []).append(at)
    return [(places, _unpacked(head, [codes[at] for at in places])) for head, places in layouts.items()]


@dataclass(frozen=True, slots=True, eq=False)
class FactorReader:
    """What reads the factors of points as those of CLIP space, for a collection that may keep them in its backbone's."""

    native: bool
    read_aligner: Callable[[], Aligner | None]
    """The collection's; asked only where factors are the backbone's."""
    method: str

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the vectors that points must come with."""
        return (FACTORS, NATIVE) if self.native else (FACTORS,)

    def read(self, points: Points) -> list[tuple[list[int], StoredFactors]]:
        """Return the points' factors, with the rows of the points that they are of; those without are left out."""
        found = decode(points.multivectors[FACTORS])
        if not self.native:
            return found
        aligner = self.read_aligner()
        return [(rows, _into_clip(each, points.vectors[NATIVE][rows], aligner)) for rows, each in found]


def _components(matrices: torch.Tensor, rank: int) -> torch.Tensor:
    """Return orthonormal columns (n, rows, rank) that keep most of matrices (n, rows, d), in the order of what they keep.

    A randomised range finder with power iterations (Halko, Martinsson and Tropp, SIAM Review 2011, algorithm 4.4), from the same
    random start every time; the exact decomposition of 196 places would take a tenth of their forward pass.
    """
    import torch

    wide = min(rank + _SPARE, *matrices.shape[1:])
    start = torch.randn(matrices.shape[2], wide, generator=torch.Generator().manual_seed(0)).to(matrices)
    found, _ = torch.linalg.qr(matrices @ start)
    for _ in range(_STEPS):
        found, _ = torch.linalg.qr(matrices @ (matrices.mT @ found))
    within = found.mT @ matrices
    _, turned = torch.linalg.eigh(within @ within.mT)  # ascending
    components: torch.Tensor = found @ turned.flip(2)[:, :, :rank]
    return components


def _packed(head: bytes, scales: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> list[FloatArray]:
    numbers = [
        scales.float().cpu().numpy().astype("<f4"),
        *(each.cpu().numpy().astype(np.int8) for each in (left, right)),
    ]
    content = [np.frombuffer(head * len(scales), np.uint8).reshape(len(scales), -1)]
    content += [each.reshape(len(scales), -1).view(np.uint8) for each in numbers]
    joined = np.concatenate(content, axis=1)
    padded = np.pad(joined, ((0, 0), (0, -joined.shape[1] % _ROW)))
    return list(padded.reshape(len(scales), -1, _ROW).astype(np.float32))


def _unpacked(head: bytes, codes: Sequence[FloatArray]) -> StoredFactors:
    rows, columns, rank, width = _HEADER.unpack(head)
    sizes = np.cumsum([_HEADER.size, _SCALE_BYTES * rank, (1 + rows * columns) * rank, rank * width])
    if not rank or any(code.shape != (-(-sizes[-1] // _ROW), _ROW) for code in codes):
        raise CollectionDamagedError(
            "the factors that the collection keeps of its images are damaged: index them again under another name, or without "
            "--explainable"
        )
    content = np.stack([code.astype(np.uint8).reshape(-1) for code in codes])
    scales, left, right = (content[:, start:end] for start, end in pairwise(sizes))
    return StoredFactors(
        _numbers(left, np.int8).reshape(len(codes), -1, rank),
        _numbers(right, np.int8).reshape(len(codes), rank, width) * _numbers(scales, "<f4")[:, :, None],
        (rows, columns),
    )


def _numbers(content: npt.NDArray[np.uint8], kind: Any) -> FloatArray:
    numbers: FloatArray = np.ascontiguousarray(content).view(kind).astype(np.float32)
    return numbers


def _into_clip(stored: StoredFactors, rows: FloatArray, aligner: Aligner | None) -> StoredFactors:
    """Project factors of the backbone's space, whose own rows (n, d_backbone) say which norms are held."""
    import torch

    from t2c_search.attribution.projection import hold

    held = hold(torch.from_numpy(rows), aligner)
    number, places = stored.left.shape[0], stored.left.shape[1] - 1
    rest = np.zeros((number, 1 + places, 1), np.float32)
    rest[:, 0] = 1.0
    right = torch.cat([held.map(torch.from_numpy(stored.right)), held.base.unsqueeze(1) / places], 1)
    return StoredFactors(np.concatenate([stored.left, rest], axis=2), right.numpy(), stored.grid)
