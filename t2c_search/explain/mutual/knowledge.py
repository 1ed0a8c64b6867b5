"""What images and a text have in common, in descriptors: values, each with its form as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from t2c_search.explain.mutual.information import entropy_sum, jaccard, mutual_information, removal_curve
from t2c_search.explain.view import View
from t2c_search.results import Column, Tabular
from t2c_search.types import Failure

_DRAWS = 1000
_SURE = 0.95
_SMALL = 0.1  # a figure below it is told with a digit more


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of a figure over images, with its 95 % interval by the bootstrap over them; None where there is one image."""

    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Estimate:
        """Return that of the values (n,) of n images."""
        known = np.asarray(values, np.float64)
        if len(known) < 2:
            return cls(float(known.mean()), None, None)
        drawn = np.random.default_rng(0).integers(0, len(known), (_DRAWS, len(known)))
        low, high = np.quantile(known[drawn].mean(1), [(1 - _SURE) / 2, (1 + _SURE) / 2])
        return cls(float(known.mean()), float(low), float(high))

    def __str__(self) -> str:
        digits = 3 if abs(self.mean) >= _SMALL else 4
        told = [f"{each:.{digits}f}" for each in (self.mean, self.low, self.high) if each is not None]
        return told[0] if len(told) == 1 else f"{told[0]} ({told[1]} to {told[2]})"


@dataclass(frozen=True, slots=True)
class Sharing:
    """How much an image's and a text's choices among the descriptors have in common; information in nats.

    ``shared`` of ``seen`` and ``said``, ``by_chance`` are those that two choices of that size share on average.
    ``mutual_information`` is that of the two memberships over all descriptors; ``auc`` is its mean while the seen ones are
    removed one by one, what the image shows least first: it is high where what is shared is what the image shows most. (The
    public code removes that first, so that the area falls with it, and does not tell models apart that differ in accuracy.)
    ``entropy_sum`` is the paper's own number (see ``information``).
    """

    seen: int
    said: int
    shared: int
    by_chance: float
    mutual_information: float
    auc: float
    jaccard: float
    entropy_sum: float

    @classmethod
    def of(cls, common: npt.NDArray[np.bool_], said: int, descriptors: int) -> Sharing:
        """Return that of N seen descriptors, by which of them ``common`` (N,) the text has too, the most important first."""
        seen, shared = len(common), int(common.sum())
        return cls(
            seen,
            said,
            shared,
            seen * said / descriptors,
            float(mutual_information(shared, seen, said, descriptors)),
            float(removal_curve(common[::-1], said, descriptors).mean()),
            jaccard(shared, seen, said),
            entropy_sum(shared, seen, said),
        )


@dataclass(frozen=True, slots=True)
class SeenPart:
    """One part of an image's foreground: how many places of the grid it has, and its descriptors, the best first.

    Images that were looked at together have the same parts by the same ``number``.
    """

    number: int
    places: int
    descriptors: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ImageKnowledge:
    """What an image and the text have in common.

    ``map`` (rows, columns) has each place's part, by its number, and -1 where the ground is, over the ``view`` of the upright
    image; ``shared`` are the descriptors of both sides, what the image shows most first.
    """

    id: str
    path: str
    parts: tuple[SeenPart, ...]
    map: npt.NDArray[np.intp]
    view: View
    shared: tuple[str, ...]
    sharing: Sharing

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values; the map is a list of rows."""
        return {
            "id": self.id,
            "path": self.path,
            **asdict(self.sharing),
            "shared_descriptors": list(self.shared),
            "parts": [asdict(part) for part in self.parts],
            "map": self.map.tolist(),
            "view": asdict(self.view),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge(Tabular):
    """What images and a text have in common, in descriptors: a row for each image.

    ``said`` are the descriptors nearest to the text, the nearest first; ``descriptors`` says which ``number`` of them there
    were to choose from. ``failures`` are images that could not be read.
    """

    text: str
    said: tuple[str, ...]
    descriptors: str
    number: int
    images: tuple[ImageKnowledge, ...]
    failures: tuple[Failure, ...] = ()

    def estimate(self, figure: str = "mutual_information") -> Estimate:
        """Return the mean over the images of a figure of ``Sharing``, with its interval."""
        return Estimate.of([getattr(image.sharing, figure) for image in self.images])

    def shared(self) -> list[tuple[str, int]]:
        """Return the descriptors that images share with the text, each with how many do, most first."""
        counted = Counter(name for image in self.images for name in image.shared)
        return sorted(counted.items(), key=lambda pair: (-pair[1], self.said.index(pair[0])))

    def columns(self) -> Mapping[str, Column]:
        """Return a row for each image."""
        figures = [asdict(image.sharing) for image in self.images]
        return {
            "id": [image.id for image in self.images],
            "path": [image.path for image in self.images],
            **{name: [each[name] for each in figures] for name in Sharing.__slots__},
            "shared_descriptors": [list(image.shared) for image in self.images],
        }

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, as ``t2c knowledge --json`` prints it."""
        return {
            "text": self.text,
            "descriptors": self.descriptors,
            "number": self.number,
            "said": list(self.said),
            "shared": [{"descriptor": name, "images": count} for name, count in self.shared()],
            **{name: asdict(self.estimate(name)) for name in ("mutual_information", "auc", "jaccard")},
            "images": [image.to_json() for image in self.images],
            "failures": [asdict(failure.redacted()) for failure in self.failures],
        }
