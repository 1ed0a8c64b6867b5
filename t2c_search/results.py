"""What questions return: hits, how sure they are and how they were found. Values, each with its form as JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isinf
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy.typing as npt

from t2c_search.errors import UsageError
from t2c_search.filters import Scalar
from t2c_search.types import Payload

if TYPE_CHECKING:
    import pandas
    import pyarrow


Column = Sequence[Any] | npt.NDArray[Any]


class Tabular(ABC):
    """A result with one row for each thing it speaks of; ``columns`` says what stands in them."""

    @abstractmethod
    def columns(self) -> Mapping[str, Column]:
        """Return the table's columns by name, all of one length: lists of plain values, or arrays (n,) or (n, k)."""

    def to_arrow(self) -> pyarrow.Table:
        """Return the table as one of Arrow; a column (n, k) becomes one of lists."""
        import pyarrow

        return pyarrow.table({name: _plain(column) for name, column in self.columns().items()})

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table as a data frame. Raises UsageError where pandas is not installed."""
        try:
            import pandas  # noqa: F401  # Arrow makes the data frame, with pandas
        except ImportError as exc:
            raise UsageError("pandas is not installed: pip install pandas, or take to_arrow()") from exc
        return self.to_arrow().to_pandas()


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one constraint says of one hit: cosine in [-1, 1], z in standard deviations of the collection."""

    constraint: str
    cosine: float
    z: float
    satisfied: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """One found image. ``rank`` counts from 1; ``score`` orders hits; ``cosine`` is with the query's direction.

    Both are None where conditions alone were asked for: nothing ranks then, and the hits come by id.
    """

    rank: int
    id: str
    path: str
    score: float | None
    cosine: float | None
    payload: Payload
    contributions: tuple[Contribution, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, as ``--json`` prints it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Certificate:
    """How sure the ranking is.

    ``exact``: no unseen image can enter the hits. ``ann``: the same, up to the index's recall, which ``recall`` tells
    where it was measured on this collection. ``none``: not certified; an unseen image may score up to ``gap`` more than
    the last hit (score units; infinite when fewer were found than asked for). ``reason`` says why an exact search that was
    asked for, or is the rule for collections of this size, was not made.
    """

    kind: Literal["exact", "ann", "none"]
    gap: float = 0.0
    recall: float | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values; JSON has no infinity, so that an infinite gap is None."""
        return {**asdict(self), "gap": None if isinf(self.gap) else self.gap}


@dataclass(frozen=True, slots=True)
class StatisticsUsed:
    """The statistics of a collection that an answer's thresholds in sd and top p% were computed with.

    They are of ``images`` images, as the collection was at ``revision``. ``current`` False: an indexer is or was at work
    since, and the collection may hold others.
    """

    images: int
    revision: str
    current: bool


@dataclass(frozen=True, slots=True)
class PlannedConstraint:
    """A constraint, and the cosine and z-score at which it holds; None where it excludes nothing.

    ``interval`` is the 95 % one of that cosine, where a share of the collection (top p%) was estimated from its sample.
    """

    constraint: str
    cosine: float | None = None
    z: float | None = None
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        if self.cosine is None:
            return f"{self.constraint}: ranks"
        between = f", 95 % interval {self.interval[0]:.4f} to {self.interval[1]:.4f}" if self.interval else ""
        return f"{self.constraint}: cosine {self.cosine:.4f} ({self.z:.2f} sd{between})"


@dataclass(frozen=True, slots=True)
class PlannedBranch:
    """How one alternative of an expression was found: by searches for a direction, or by a scan of what matches.

    ``direction`` is the last one searched for: weights of z-scores, their sum of unit variance in the collection.
    """

    constraints: tuple[PlannedConstraint, ...]
    ranked_by: tuple[str, ...]
    direction: Mapping[str, float]
    where: str | None
    path: Literal["search", "scan"]
    rounds: int
    candidates: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What ran: one branch per alternative, the candidates they examined together, and seconds by step.

    ``reason`` says what the store refuses, where it was asked in a slower way instead.
    """

    branches: tuple[PlannedBranch, ...]
    candidates: int
    rounds: int
    seconds: Mapping[str, float]
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, as ``--json`` prints it."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.branches:
            return "nothing to search: the conditions of every alternative exclude each other"
        lines = [f"{_number(len(self.branches), 'branch', 'branches')}, {_effort(self)}"]
        for number, branch in enumerate(self.branches, 1):
            lines.append(f"  {number}. {branch.path}, {_effort(branch)}")
            lines += [f"       where   {branch.where}"] if branch.where else []
            lines += [f"       literal {constraint}" for constraint in branch.constraints]
            lines += [f"       rank by {term}" for term in branch.ranked_by]
            lines += [f"       toward  {weight:+.3f} z({name})" for name, weight in branch.direction.items()]
        steps = ", ".join(f"{step} {1000 * seconds:.1f} ms" for step, seconds in self.seconds.items())
        return "\n".join([*lines, *([f"  {self.reason}"] if self.reason else []), f"  {steps}"])


def _effort(part: Plan | PlannedBranch) -> str:
    return f"{_number(part.candidates, 'candidate', 'candidates')} in {_number(part.rounds, 'round', 'rounds')}"


def _number(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


@dataclass(frozen=True, slots=True)
class SearchResult(Sequence[Hit]):
    """Hits in order of rank, with how they were found.

    ``as_of`` tells of how many images the statistics are that set its thresholds, where those are not current. ``total`` is
    the number of all that match, where conditions alone were asked for.
    """

    hits: tuple[Hit, ...]
    seconds: float
    certificate: Certificate
    plan: Plan | None = None
    statistics: StatisticsUsed | None = None
    as_of: int | None = None
    total: int | None = None

    @overload
    def __getitem__(self, index: int) -> Hit: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...

    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, as ``t2c search --json`` prints it after the expression."""
        return {
            "hits": [hit.to_json() for hit in self.hits],
            "count": len(self.hits),
            "total": self.total,
            "certificate": self.certificate.to_json(),
            "plan": self.plan and self.plan.to_json(),
            "seconds": round(self.seconds, 4),
            "statistics": self.statistics and asdict(self.statistics),
            "as_of": self.as_of,
        }


class Mined(Iterator[Hit]):
    """Images that match, as they are found; ``plan`` says how, of all of them once the last one was taken.

    ``statistics`` and ``as_of`` are those of ``SearchResult``.
    """

    def __init__(
        self,
        hits: Iterator[Hit],
        describe: Callable[[], Plan],
        statistics: StatisticsUsed | None = None,
        as_of: int | None = None,
    ) -> None:
        self._hits, self._describe = hits, describe
        self.statistics, self.as_of = statistics, as_of

    def __next__(self) -> Hit:
        return next(self._hits)

    @property
    def plan(self) -> Plan:
        """What ran so far."""
        return self._describe()

    def to_json(self) -> dict[str, Any]:
        """Return, in plain values, what ``t2c mine --json`` prints after the hits, which are all there are."""
        plan = self.plan
        return {
            "certificate": Certificate("exact").to_json(),
            "plan": plan.to_json(),
            "seconds": round(sum(plan.seconds.values()), 4),
            "statistics": self.statistics and asdict(self.statistics),
            "as_of": self.as_of,
        }


@dataclass(frozen=True, slots=True)
class Count:
    """How many images match. When not ``exact``, an estimate with its 95 % interval.

    Exact is the number under these thresholds: where they stand is what the statistics say, which are of ``as_of`` images
    where they are not current.
    """

    count: int
    exact: bool
    low: int
    high: int
    seconds: float
    plan: Plan | None = None
    statistics: StatisticsUsed | None = None
    as_of: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values, as ``t2c count --json`` prints it."""
        return asdict(self)


class Facets(list[tuple[Scalar, int]]):
    """Values of a payload ``field``, each with the number of images that have it, most frequent first."""

    def __init__(self, field: str, counts: Iterable[tuple[Scalar, int]]) -> None:
        super().__init__(counts)
        self.field = field

    def to_json(self) -> dict[str, Any]:
        """Return them in plain values, as ``t2c facets --json`` prints them."""
        return {"field": self.field, "values": [{"value": value, "count": count} for value, count in self]}


def _plain(column: Column) -> Any:
    return list(column) if getattr(column, "ndim", 1) > 1 else column
