"""The operations on one collection: search, mine, count and facets, from expressions or constraint trees."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from t2c_search.attribution.stored import FactorReader
from t2c_search.errors import UsageError, brief
from t2c_search.filters import Exists, Filter, Scalar
from t2c_search.query.execution.account import Stopwatch, contributions, describe
from t2c_search.query.execution.estimate import estimate_count
from t2c_search.query.execution.fronts import Found, Front, with_payloads
from t2c_search.query.execution.mining import count_by_score, matches
from t2c_search.query.execution.reservoir import take_reservoir
from t2c_search.query.execution.selection import POOL, best_of_groups, values_of
from t2c_search.query.execution.selection import diverse as most_diverse
from t2c_search.query.execution.topk import Effort, TopK, find_top
from t2c_search.query.language.constraints import Constraint
from t2c_search.query.language.printer import unparse_filter
from t2c_search.query.language.syntax import parse, parse_filter
from t2c_search.query.planning.calibration import Calibration
from t2c_search.query.planning.directions import Directions, EmbedImage, Lookups
from t2c_search.query.planning.normal_form import branches as branches_of
from t2c_search.query.planning.planner import Branch, embed, plan
from t2c_search.query.planning.texts import Texts
from t2c_search.results import Certificate, Count, Facets, Hit, Mined, SearchResult, StatisticsUsed
from t2c_search.state.concepts import SavedConcept
from t2c_search.statistics import VectorStatistics
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import CLIP, FloatArray, Points

Expression = str | Mapping[str, Any] | Constraint
MAX_CANDIDATES = 5000
NO_EXACT_SEARCH = "the server allows no exact search (search_allow_exact of its strict mode)"
UNBOUNDED = "what is not looked at may have any region: only an exact search, which reads all of them, is certain"
MAX_LIMIT = 1_000_000
"""Hits that a search ranks, and candidates that it examines: all that match, however many, are for ``mine``."""
_BATCH = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of a collection, beside its points, when it is asked.

    ``used`` says of which state of the collection the statistics are, and goes on answers; ``concepts`` are the saved ones;
    ``fields`` the payload fields that expressions may name (None: any). ``recall`` of the approximate index, where it was
    measured, goes on certificates.
    """

    statistics: VectorStatistics
    used: StatisticsUsed | None = None
    concepts: Mapping[str, SavedConcept] = field(default_factory=dict)
    fields: Collection[str] | None = None
    recall: float | None = None
    factors: FactorReader | None = None
    """What reads the factors of images, in a collection that keeps them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the images that match a search returns, and what it may take. Raises UsageError for numbers out of range.

    ``limit`` of them, the best by score: of every vector if ``exact``, else of those that the index finds. ``diverse`` picks
    unlike ones among the best, ``group_by`` the best image of each value of a field: the best of those that share no value
    with a hit before it, without the images that lack the field. A search that has examined ``max_candidates``, but at least
    twice the hits it chooses from, or that has taken ``max_seconds``, but at least one call of the store, ends with
    what it has, uncertified.
    """

    limit: int = 10
    exact: bool = False
    diverse: bool = False
    group_by: str | None = None
    max_candidates: int = MAX_CANDIDATES
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        check_limit("limit", self.limit)
        check_limit("max_candidates", self.max_candidates)
        if self.max_seconds is not None and not self.max_seconds >= 0:
            raise UsageError(f"max_seconds {self.max_seconds} cannot be used; expected 0 or more, or none for no limit")
        if self.diverse and self.group_by:
            raise UsageError("diverse and group_by both choose among the hits: ask for one of them")

    @property
    def pool(self) -> int:
        """How many of the best the hits are chosen from."""
        return self.limit * POOL if self.diverse or self.group_by else self.limit


def check_limit(name: str, given: int) -> None:
    """Raise UsageError for a number of hits or candidates that cannot be."""
    if not 1 <= given <= MAX_LIMIT:
        raise UsageError(f"{name} {brief(str(given))} cannot be used; expected 1 to {MAX_LIMIT}")


_BEST = Wanted()


class Searcher:
    """Answers expressions over one collection, as it was known when this was made.

    ``texts`` and ``embed_image`` map to its CLIP space; the texts are remembered beyond this searcher, for the next one.

    Every method raises ExpressionError for an expression that cannot be read, UsageError for a concept that is not
    there.
    """

    def __init__(self, store: VectorStore, known: Known, texts: Texts, embed_image: EmbedImage) -> None:
        self.store = store
        self.known = known
        self.texts = texts
        self.calibration = Calibration(known.statistics)
        reservoir = partial(take_reservoir, store, known.factors)
        lookups = Lookups(embed_image, self._stored_vector, reservoir)
        self.directions = Directions(self.calibration, texts, lookups, known.concepts)

    def search(
        self,
        expression: Expression,
        wanted: Wanted = _BEST,
        *,
        where: str | Filter | None = None,
    ) -> SearchResult:
        """Find the best images, by score in standard deviations, and say how certain they are.

        Thresholds exclude; bare concepts only rank. A hit's contributions are those of the alternative (of an OR) that gave
        its score. Where no meaning is asked for, there is nothing to rank by: the hits come by id, without a score, and
        ``total`` says how many match.
        """
        if wanted.group_by:  # a name that is not there would leave nothing to group
            parse_filter(unparse_filter(Exists(field=wanted.group_by)), fields=self.known.fields)
        watch = Stopwatch()
        refused = NO_EXACT_SEARCH if wanted.exact and not self.store.limits().exact else None
        exact = wanted.exact and refused is None
        branches = self._plan(expression, where, mining=False, watch=watch)
        deadline = np.inf if wanted.max_seconds is None else watch.started + wanted.max_seconds
        candidates = max(wanted.max_candidates, 2 * wanted.pool)
        effort = Effort(self.calibration.count, exact, candidates, deadline)
        if wanted.group_by:
            top = best_of_groups(self.store, branches, wanted.group_by, wanted.limit, effort)
        else:
            top = find_top(self.store, branches, wanted.pool, effort)
        watch.lap("search")
        chosen = self._diverse(top.found, wanted.limit) if wanted.diverse and top.found else top.found
        hits = tuple(self._hits(chosen, branches))
        watch.lap("payload")
        total = None
        if _only_filter(branches):
            total = self._total(branches[0], hits, wanted.limit, deadline)
            watch.lap("count")
        return SearchResult(
            hits,
            watch.total,
            self._certificate(top, exact, refused),
            describe(top.fronts, watch.laps, refused),
            self.known.used,
            self._as_of(branches),
            total,
        )

    def mine(self, expression: Expression, *, where: str | Filter | None = None) -> Mined:
        """Find every image that matches, in ascending order of id, one after the other, in constant memory.

        A bare concept must reach its default threshold. The set is exact: vectors are scanned, not asked of the index.
        """
        watch = Stopwatch()
        branches = self._plan(expression, where, mining=True, watch=watch)
        fronts = _fronts(branches)
        hits = self._mined(branches, fronts, watch)
        reason = self._reason_to_scan()
        return Mined(hits, lambda: describe(fronts, watch.laps, reason), self.known.used, self._as_of(branches))

    def _mined(self, branches: tuple[Branch, ...], fronts: list[Front], watch: Stopwatch) -> Iterator[Hit]:
        found = matches(self.store, fronts, points=self.calibration.count)
        rank = 1
        while True:
            watch.resume()
            batch = list(islice(found, _BATCH))
            watch.lap("search")
            hits = list(self._hits(batch, branches, rank))
            watch.lap("payload")
            if not batch:
                return
            yield from hits
            rank += len(hits)

    def read(
        self,
        tree: Constraint | None = None,
        *,
        vectors: tuple[str, ...] = (CLIP,),
        payload: bool | tuple[str, ...] = False,
    ) -> Iterator[Points]:
        """Yield the images that ``mine`` finds, or all of them, in ascending order of id, by batches: for reading them in bulk.

        ``payload`` may name the fields wanted. Memory is constant, whatever the number of images.
        """
        branches = () if tree is None else self._plan(tree, None, mining=True)
        if tree is None or _only_filter(branches):
            where = branches[0].where if branches else None
            yield from self.store.scan(where=where, vectors=vectors, payload=payload, batch_size=_BATCH)
            return
        found = matches(self.store, _fronts(branches), points=self.calibration.count)
        while batch := [each.id for each in islice(found, _BATCH)]:
            yield self.store.fetch(batch, vectors=vectors, payload=bool(payload))

    def count(self, expression: Expression, *, where: str | Filter | None = None, approximate: bool = False) -> Count:
        """Count the images that ``mine`` finds, or estimate their number from a sample, with its interval."""
        watch = Stopwatch()
        branches = self._plan(expression, where, mining=True, watch=watch)
        used, as_of = self.known.used, self._as_of(branches)
        if approximate:
            estimate, low, high = estimate_count(self.store, branches, self.calibration) if branches else (0, 0, 0)
            watch.lap("sample")
            return Count(estimate, low == high, low, high, watch.total, None, used, as_of)
        fronts = _fronts(branches)
        count: int | None
        if _only_filter(branches):
            count = fronts[0].candidates = self.store.count(branches[0].where)
            fronts[0].path = "scan"
        else:
            count = count_by_score(self.store, fronts, points=self.calibration.count)
            if count is None:
                count = sum(1 for _ in matches(self.store, fronts, points=self.calibration.count))
        watch.lap("search")
        ran = describe(fronts, watch.laps, self._reason_to_scan())
        return Count(count, True, count, count, watch.total, ran, used, as_of)

    def facets(
        self, expression: Expression, field: str, *, where: str | Filter | None = None, limit: int = 20
    ) -> Facets:
        """Count the values of a payload field among the images that match, most frequent first, ties by value."""
        branches = self._plan(expression, where, mining=True)
        found = matches(self.store, _fronts(branches), points=self.calibration.count)
        counts: Counter[Scalar] = Counter()
        while batch := list(islice(found, _BATCH)):
            for payload in self.store.fetch([each.id for each in batch]).payloads:
                counts.update(set(values_of(payload, field)))
        ordered = sorted(counts.items(), key=lambda entry: (-entry[1], isinstance(entry[0], str), entry[0]))
        return Facets(field, ordered[:limit])

    def _plan(
        self, expression: Expression, where: str | Filter | None, *, mining: bool, watch: Stopwatch | None = None
    ) -> tuple[Branch, ...]:
        watch = watch or Stopwatch()
        fields = self.known.fields
        tree = parse(expression, fields=fields) if isinstance(expression, str | Mapping) else expression
        condition = parse_filter(where, fields=fields) if isinstance(where, str) else where
        conjunctions = branches_of(tree, condition)
        watch.lap("plan")
        question = embed(conjunctions, self.directions)
        watch.lap("embed")  # apart: the first question of all loads the models
        branches = plan(question, self.directions, mining=mining)
        watch.lap("plan")
        return branches

    def _total(self, branch: Branch, hits: tuple[Hit, ...], limit: int, deadline: float) -> int | None:
        """Count what matches conditions alone; None when time is up."""
        if len(hits) < limit:
            return len(hits)
        return self.store.count(branch.where) if time.perf_counter() <= deadline else None

    def _diverse(self, found: list[Found], limit: int) -> list[Found]:
        points = self.store.fetch([each.id for each in found], vectors=(CLIP,), payload=False)
        stored = set(points.ids)
        there = [each for each in found if each.id in stored]  # others were deleted since they were found
        scores = np.array([each.score for each in there])
        return [there[at] for at in most_diverse(points.vectors[CLIP], scores, self.calibration.mean, limit)]

    def _hits(self, found: list[Found], branches: tuple[Branch, ...], rank: int = 1) -> Iterator[Hit]:
        for at, (each, payload) in enumerate(with_payloads(self.store, found), rank):
            branch = branches[each.branch]
            cosine = float(each.cosines[branch.ranking.terms[0].axis]) if len(each.cosines) else None
            score = None if _only_filter(branches) else each.score
            path = str(payload.get("path", ""))
            yield Hit(at, each.id, path, score, cosine, payload, contributions(branch, each.cosines))

    def _certificate(self, top: TopK, exact: bool, refused: str | None) -> Certificate:
        if top.open:
            read = any(front.branch.factors is not None for front in top.open)
            return Certificate("none", top.gap, reason=refused or (UNBOUNDED if read and not exact else None))
        if exact or not self.store.capabilities.ann or all(front.path == "scan" for front in top.fronts):
            return Certificate("exact", reason=refused)
        return Certificate("ann", recall=self.known.recall, reason=refused)

    def _reason_to_scan(self) -> str | None:
        """Why all that match is read, where a search would be faster."""
        return None if self.store.limits().exact else NO_EXACT_SEARCH

    def _as_of(self, branches: tuple[Branch, ...]) -> int | None:
        """Number of images whose statistics set an answer's thresholds, where they are not current."""
        used = self.known.used
        if used is None or used.current:
            return None
        gates = [literal for branch in branches for literal in branch.literals if literal.gates]
        return used.images if any(literal.calibrated for literal in gates) else None

    def _stored_vector(self, point: str) -> FloatArray | None:
        try:
            known = str(uuid.UUID(point))
        except ValueError:
            return None
        rows = self.store.fetch([known], vectors=(CLIP,), payload=False).vectors[CLIP]
        return rows[0] if len(rows) else None


def _only_filter(branches: tuple[Branch, ...]) -> bool:
    """Tell whether no meaning is asked for, so that nothing ranks: a filter stays whole, in one branch."""
    return len(branches) == 1 and not branches[0].axes


def _fronts(branches: tuple[Branch, ...]) -> list[Front]:
    return [Front(number, branch) for number, branch in enumerate(branches)]
