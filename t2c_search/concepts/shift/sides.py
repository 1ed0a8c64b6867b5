"""The two sides of a comparison: which images they are, read together, without those that are in both."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2c_search.concepts.shift.measures import Ranks, Summary, ranks_of_bins
from t2c_search.concepts.shift.result import Stratum
from t2c_search.concepts.shift.tally import Counted, Kept, Scale, Tally
from t2c_search.errors import UsageError, brief
from t2c_search.query.execution.searcher import Searcher
from t2c_search.query.execution.selection import values_of
from t2c_search.query.language.constraints import Constraint
from t2c_search.types import CLIP, NATIVE, FloatArray, Points

MOST_STRATA = 20
"""Values of a field that sides are compared within: more, and each has few images and memory of its own."""
LEAST_OF_STRATUM = 2
"""Images of a side in a stratum: fewer have no variance."""

Project = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Images of one collection: those that satisfy ``tree``, or all; ``name`` says which.

    Where ``project`` is given, it maps their native rows to the space in which both sides are compared. As side B,
    ``others`` are those that A has not.
    """

    searcher: Searcher
    tree: Constraint | None
    name: str
    project: Project | None = None
    others: bool = False

    def read(self, field: str | None) -> Iterator[Points]:
        """Yield them in ascending order of id, their vectors in the common space, and what holds the field."""
        source = CLIP if self.project is None else NATIVE
        payload = () if field is None else (field.partition(".")[0],)
        for points in self.searcher.read(self.tree, vectors=(source,), payload=payload or False):
            rows = points.vectors[source]
            yield Points(points.ids, points.payloads, {CLIP: rows if self.project is None else self.project(rows)})


@dataclass(frozen=True, slots=True, eq=False)
class Tallied:
    """Both sides gone by, and their samples; ``shared`` images were in both, ``without_value`` had none in the field."""

    sides: tuple[Tally, Tally]
    kept: tuple[Kept, Kept]
    shared: int
    without_value: int

    @property
    def strata(self) -> tuple[Stratum, ...]:
        """All strata, that of most images first; the one stratum of sides that are not compared within any is ""."""
        a, b = ({value: counted.n for value, counted in side.strata.items()} for side in self.sides)
        counts = [(value, a.get(value, 0), b.get(value, 0)) for value in sorted({*a, *b})]
        ordered = sorted(counts, key=lambda each: -each[1] - each[2])
        return tuple(Stratum(*each, used=min(each[1:]) >= LEAST_OF_STRATUM) for each in ordered)

    @property
    def used(self) -> list[tuple[Counted, Counted]]:
        """What was counted of both sides in the strata that both have enough images of."""
        return [
            (self.sides[0].strata[each.value], self.sides[1].strata[each.value]) for each in self.strata if each.used
        ]

    def summary(self) -> Summary:
        """Numbers, means and variances of the scores."""
        n = np.array([[side.n for side in pair] for pair in self.used], np.float64)
        total = np.array([[side.total for side in pair] for pair in self.used])
        squares = np.array([[side.squares for side in pair] for pair in self.used])
        mean = total / n[:, :, None]
        return Summary(n, mean, np.maximum(squares - total * mean, 0) / (n - 1)[:, :, None])

    def ranks(self) -> Ranks:
        """Ranks of the scores as counted in bins."""
        a, b = (np.array([pair[side].bins for pair in self.used], np.float64) for side in (0, 1))
        return ranks_of_bins(a, b)


def tally(chosen: tuple[Chosen, Chosen], scale: Scale, by: str | None, seed: int) -> Tallied:
    """Read both sides once, in constant memory. Raises UsageError where the field ``by`` has too many values."""
    sides = (Tally(scale, seed), Tally(scale, seed + 1))
    shared = without = 0
    for side, points, left_out in apart(chosen[0].read(by), chosen[1].read(by), a_keeps=chosen[1].others):
        shared += left_out
        if by is None:
            sides[side].add(points.ids, points.vectors[CLIP], [""] * len(points))
            continue
        strata = [_stratum(payload, by) for payload in points.payloads]
        rows = [row for row, value in enumerate(strata) if value]
        without += len(strata) - len(rows)
        _check_strata({*sides[0].strata, *sides[1].strata, *strata} - {""}, by)
        sides[side].add([points.ids[row] for row in rows], points.vectors[CLIP][rows], [strata[row] for row in rows])
    return Tallied(sides, (sides[0].finish(), sides[1].finish()), shared, without)


def apart(a: Iterator[Points], b: Iterator[Points], *, a_keeps: bool = False) -> Iterator[tuple[int, Points, int]]:
    """Yield (side, batch, number left out) of two streams in ascending order of id, without the images that are in both.

    Where ``a_keeps`` those, they are left out of B alone, as is meant, and not counted.
    """
    streams = (a, b)
    held = [next(stream, None) for stream in streams]
    while (first := held[0]) is not None and (second := held[1]) is not None:
        upto = min(first.ids[-1], second.ids[-1])
        cuts = [bisect_right(each.ids, upto) for each in (first, second)]
        both = set(first.ids[: cuts[0]]) & set(second.ids[: cuts[1]])
        for side, (batch, cut) in enumerate(zip((first, second), cuts, strict=True)):
            left_out: set[str] = set() if a_keeps and side == 0 else both
            rows = [row for row in range(cut) if batch.ids[row] not in left_out]
            yield side, batch.take(rows), len(both) if side == 0 and not a_keeps else 0
            held[side] = batch.take(range(cut, len(batch))) if cut < len(batch) else next(streams[side], None)
    for side, stream in enumerate(streams):
        while (rest := held[side]) is not None:
            yield side, rest, 0
            held[side] = next(stream, None)


def _stratum(payload: dict[str, Any], by: str) -> str:
    """Return an image's value of the field, several as one; empty where it has none."""
    return ", ".join(sorted(map(str, values_of(payload, by))))


def _check_strata(values: set[str], by: str) -> None:
    if len(values) > MOST_STRATA:
        raise UsageError(
            f"field {by!r} has more than {MOST_STRATA} values ({', '.join(map(brief, sorted(values)[:4]))}, ...): compare by "
            "one with few, such as a camera or a split"
        )
