"""Why an image is a hit: values, each with its form as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, overload

from t2c_search.explain.view import View
from t2c_search.results import Column, Tabular
from t2c_search.types import Failure, FloatArray

REST = "(rest)"
"""What stands in place of a word for what no word gives: articles, the text's frame, and what former layers have mixed."""


@dataclass(frozen=True, slots=True, eq=False)
class WordShare:
    """What one word of a literal's text gives, as the literal's map does; its own ``map`` (rows, columns) sums to its share."""

    word: str
    share: float
    map: FloatArray

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values; the map is a list of rows."""
        return {"word": self.word, "share": self.share, "map": self.map.tolist()}


@dataclass(frozen=True, slots=True, eq=False)
class ExplainedLiteral:
    """What one literal of an expression makes of an image.

    ``cosine`` and ``z`` are those of its concept, as in ``Contribution``. ``contribution`` is what it gives to the score, in
    standard deviations of the score: those of all literals sum to it. ``map`` (rows, columns) says what each place gives, in
    standard deviations of the concept: it sums to ``z``, or to ``-z`` where the literal is negated (``wanted`` False), so
    that what speaks for the hit is above 0 either way. ``claim`` (rows, columns) says where a wanted literal has its object, as
    far as no other wanted one has it there (``maps.contested``), and sums to nothing; of a negated one it is the map.
    ``words`` are those of a text and ``(rest)``, which sum to the same; none for other concepts, and where the text tower cannot
    be taken apart. ``rank_without`` is the rank of the image in the expression without this literal, None where that was not
    asked or nothing would be left to rank by.
    """

    constraint: str
    wanted: bool
    satisfied: bool
    cosine: float
    z: float
    contribution: float
    map: FloatArray
    claim: FloatArray
    words: tuple[WordShare, ...] = ()
    rank_without: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values; the map is a list of rows."""
        return {name: getattr(self, name) for name in self.__slots__} | {
            "map": self.map.tolist(),
            "claim": self.claim.tolist(),
            "words": [word.to_json() for word in self.words],
        }


@dataclass(frozen=True, slots=True)
class OtherAlternative:
    """Another alternative of an OR, and the score that it gives the image; None where it excludes it."""

    expression: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """The literal without which an image's rank would change most; ``rank`` is None for an image that is excluded."""

    constraint: str
    rank: int | None
    rank_without: int

    def __str__(self) -> str:
        now = "though it is excluded now" if self.rank is None else f"in place of {self.rank}"
        return f"without {self.constraint} it would rank {self.rank_without} {now}"


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why an image has its place in the answer to an expression: its maps, and what each literal gives.

    ``expression`` is the alternative that gave the ``score``, ``others`` are those of an OR beside it. ``found`` says
    whether the expression finds the image, and ``rank`` is exact, by score alone: None where it does not, and where it was not
    asked for. The maps' grid lies over the ``view`` of the upright
    image of ``size`` (width, height) pixels. ``method`` made the factors, and their ``residual`` is the length of what they
    leave of the image's unit vector, which is spread evenly over the maps;
    None for a method whose factors need not add up to it.
    """

    id: str
    path: str
    found: bool
    rank: int | None
    score: float
    expression: str
    literals: tuple[ExplainedLiteral, ...]
    others: tuple[OtherAlternative, ...]
    size: tuple[int, int]
    view: View
    method: str
    residual: float | None
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the maps."""
        rows, columns = self.literals[0].map.shape
        return rows, columns

    @property
    def counterfactual(self) -> Counterfactual | None:
        """The literal without which the rank would change most, the first of several; None where no rank was asked for."""
        known = [(each.constraint, each.rank_without) for each in self.literals if each.rank_without is not None]
        if not known:
            return None
        now = self.rank  # one that is excluded changes most where it would come in best
        constraint, rank = max(known, key=lambda each: -each[1] if now is None else abs(each[1] - now))
        return Counterfactual(constraint, now, rank)

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, as ``t2c explain --json`` prints it."""
        made: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return made | {
            "grid": self.grid,
            "view": asdict(self.view),
            "literals": [literal.to_json() for literal in self.literals],
            "others": [asdict(other) for other in self.others],
            "counterfactual": self.counterfactual and asdict(self.counterfactual),
        }


@dataclass(frozen=True, slots=True)
class Explanations(Sequence[Explanation], Tabular):
    """Explanations of several images by one expression, and those of them that could not be opened for it."""

    expression: str
    images: tuple[Explanation, ...]
    failures: tuple[Failure, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Explanation: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Explanation, ...]: ...

    def __getitem__(self, index: int | slice) -> Explanation | tuple[Explanation, ...]:
        return self.images[index]

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.images)

    def columns(self) -> Mapping[str, Column]:
        """Return a row for each literal of each image."""
        rows = [(image, literal) for image in self.images for literal in image.literals]
        of_image = {name: [getattr(image, name) for image, _ in rows] for name in ("id", "path", "rank", "score")}
        names = ("constraint", "wanted", "satisfied", "cosine", "z", "contribution", "rank_without")
        return of_image | {name: [getattr(literal, name) for _, literal in rows] for name in names}

    def to_json(self) -> dict[str, Any]:
        """Return them in plain values, as ``t2c explain --json`` prints them."""
        return {
            "expression": self.expression,
            "images": [image.to_json() for image in self.images],
            "failures": [asdict(failure.redacted()) for failure in self.failures],
        }
