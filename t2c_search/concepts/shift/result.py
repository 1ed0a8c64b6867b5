"""What ``shift`` returns: how two sides of images differ, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from t2c_search.results import Column, Tabular

SURE = 0.05
"""p up to which a difference is called one."""


@dataclass(frozen=True, slots=True)
class ShiftedWord:
    """How the images of A and of B differ in one word; above 0, and an AUROC above 0.5, is more in A.

    ``g`` is Hedges' g, the difference of mean scores in standard deviations of images within a side, with its 95 % interval
    from ``low`` to ``high``; ``difference`` is that of mean cosines. ``auroc`` is the chance that an image of A scores
    above one of B, exact to ``auroc_error``. ``t`` is Welch's; ``p`` its p-value, ``q`` the same after Benjamini and
    Hochberg's correction for all words; ``rank_p`` is Mann and Whitney's, or van Elteren's by strata. ``max_t_p`` holds
    for all words together, by permutations, and takes into account that they correlate.
    """

    word: str
    g: float
    low: float
    high: float
    difference: float
    auroc: float
    auroc_error: float
    t: float
    p: float
    q: float
    rank_p: float
    max_t_p: float

    @property
    def sure(self) -> bool:
        """Whether it differs, with all words taken together."""
        return self.max_t_p <= SURE


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image of one side that shows what that side has more of; ``score`` is in standard deviations."""

    id: str
    path: str
    score: float


@dataclass(frozen=True, slots=True)
class ShiftFinding:
    """What one side has more of: a word, and those words that say nearly the same of these images.

    Of words that the images do not tell apart, ``word`` is the most central one; ``images`` show it best.
    """

    word: ShiftedWord
    like: tuple[str, ...]
    images: tuple[ShownImage, ...]


@dataclass(frozen=True, slots=True)
class ShiftSide:
    """One side: what it is, the number of images compared, and those that show best what it has and the other has not."""

    name: str
    images: int
    findings: tuple[ShiftFinding, ...]
    typical: tuple[ShownImage, ...]


@dataclass(frozen=True, slots=True)
class AnyShift:
    """Whether anything changed at all: the energy distance of at most so many images a side, and its permutation p."""

    distance: float
    p: float
    images: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Stratum:
    """Images of A and of B that have one value of a field; ``used`` False: too few of either to compare."""

    value: str
    a: int
    b: int
    used: bool


@dataclass(frozen=True, slots=True, eq=False)
class Shift(Tabular):
    """How the images of A differ from those of B. ``words`` has the whole vocabulary, what A has most more of first.

    ``shared`` images are in both sides and were left out. With a field ``by``, only images of the same value were compared
    with each other, by ``strata``; ``without_value`` were left out as they have none. Permutations (``permutations`` of
    them) are of ``permuted`` images a side.
    """

    a: ShiftSide
    b: ShiftSide
    any: AnyShift
    words: tuple[ShiftedWord, ...]
    shared: int
    by: str | None
    strata: tuple[Stratum, ...]
    without_value: int
    permutations: int
    permuted: tuple[int, int]

    def columns(self) -> Mapping[str, Column]:
        """Return one row a word, in order of ``words``."""
        return {each.name: [getattr(word, each.name) for word in self.words] for each in fields(ShiftedWord)}

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, as ``t2c shift --json`` prints it."""
        return {**asdict(self), "told": list(self.told)}

    @property
    def sides(self) -> tuple[tuple[Literal["A", "B"], ShiftSide], tuple[Literal["A", "B"], ShiftSide]]:
        """Both sides, with their letters."""
        return ("A", self.a), ("B", self.b)

    @property
    def told(self) -> tuple[str, ...]:
        """Say in sentences what was found and what was left out."""
        sure = sum(word.sure for word in self.words)
        changed = "the sides differ" if self.any.p <= SURE else "no difference between the sides can be told"
        strongest = max(self.words, key=lambda word: abs(word.g))
        lines = [
            f"{changed} (energy distance {self.any.distance:.2g}, p = {self.any.p:.2g}, of {_of(self.any.images)} images)",
            f"{sure} of {len(self.words)} words differ at p <= {SURE:g} for all together; the largest effect is "
            f"g = {strongest.g:+.2f}, in {strongest.word!r}"
            + (", which is little" if abs(strongest.g) < LITTLE else ""),
        ]
        if self.shared:
            lines.append(f"{self.shared} images are in both sides and were left out")
        if self.by is not None:
            used = [stratum for stratum in self.strata if stratum.used]
            lines.append(f"compared within {len(used)} values of {self.by!r}: {_listed([each.value for each in used])}")
        if passed := [f"{each.value!r} ({each.a} and {each.b} images)" for each in self.strata if not each.used]:
            lines.append(f"left out, as too few images of either side have it: {_listed(passed)}")
        if self.without_value:
            lines.append(f"{self.without_value} images have no {self.by!r} and were left out")
        if min(self.permuted) < min(self.a.images, self.b.images):
            lines.append(f"permutations are of {_of(self.permuted)} images drawn by lot")
        return tuple(lines)


LITTLE = 0.2
"""|g| below which an effect is called small at most (Cohen 1988), however sure it is."""


def _of(images: tuple[int, int]) -> str:
    return f"{images[0]} and {images[1]}"


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
