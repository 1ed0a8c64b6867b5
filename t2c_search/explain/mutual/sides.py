"""The two sides that are compared: the descriptors of what images show, and those of what a text says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.errors import UsageError
from t2c_search.explain.mutual.knowledge import ImageKnowledge, SeenPart, Sharing
from t2c_search.explain.mutual.looking import Looked
from t2c_search.explain.mutual.matching import match
from t2c_search.explain.mutual.parts import Indices, divide
from t2c_search.types import FloatArray, unit_rows

PARTS = 5
"""Parts of a foreground, as in the paper."""
SIDE = 50
"""Descriptors of each side, as many as the paper takes for a text; of a shorter list a fifth."""
_LIST = 5


@dataclass(frozen=True, slots=True, eq=False)
class Descriptors:
    """D descriptors with their unit rows (D, d), of which either side takes ``side``."""

    names: tuple[str, ...]
    rows: FloatArray
    side: int

    @classmethod
    def of(cls, names: Sequence[str], rows: FloatArray, side: int | None = None) -> Descriptors:
        """Return them with a checked ``side``; left out, ``SIDE`` or a fifth. Raises UsageError where there are too few."""
        if side is None:
            side = min(SIDE, len(names) // _LIST)
        if not 1 <= side <= len(names) // 2:
            raise UsageError(
                f"{len(names)} descriptors are too few for a side of {max(side, 1)}: either side takes a fifth of a short list, "
                "and half of it at most; give a longer list, or a smaller side"
            )
        return cls(tuple(names), rows, side)

    def said(self, text: npt.NDArray[np.floating]) -> Indices:
        """Return the descriptors nearest to a text by its vector (d,), the nearest first."""
        return np.argsort(-(self.rows @ text), kind="stable")[: self.side]


def knowledge_of(
    images: Sequence[tuple[str, str, Looked]], said: Indices, descriptors: Descriptors, mean: npt.NDArray[np.floating]
) -> list[ImageKnowledge]:
    """Return what each of some images of one thing, (id, path, what was seen), shares with a text's descriptors.

    Their foregrounds are divided into the same parts together. Vectors are taken about the ``mean`` (d,) of a collection, as
    searches take them.
    """
    if not images:
        return []
    numbers = divide([looked.features for _, _, looked in images], min(PARTS, descriptors.side))
    return [_of_image(image, own, (said, descriptors, mean)) for image, own in zip(images, numbers, strict=True)]


def _of_image(
    image: tuple[str, str, Looked], numbers: Indices, text: tuple[Indices, Descriptors, npt.NDArray[np.floating]]
) -> ImageKnowledge:
    (point_id, path, looked), (said, descriptors, mean) = image, text
    rows = unit_rows((looked.part_rows(numbers) - mean).astype(np.float64))
    there, places = np.unique(numbers, return_counts=True)
    matched = match(rows @ descriptors.rows.T, descriptors.side)
    seen = np.concatenate(matched)
    importance = descriptors.rows[seen] @ (looked.vector - mean)
    seen = seen[np.argsort(-importance, kind="stable")]
    common = np.isin(seen, said)
    map = np.full(looked.shown.shape, -1, np.intp)
    map[looked.shown] = numbers
    names = descriptors.names
    return ImageKnowledge(
        point_id,
        path,
        tuple(
            SeenPart(int(number), int(count), tuple(names[at] for at in chosen))
            for number, count, chosen in zip(there, places, matched, strict=True)
        ),
        map.reshape(looked.grid),
        looked.view,
        tuple(names[at] for at in seen[common]),
        Sharing.of(common, len(said), len(names)),
    )
