"""Certified top-k: a cutting-plane method whose oracle is the vector store.

A branch's score is concave in x, so a half-space encloses every image that can reach the k-th best score. One search in
its direction returns images in the order in which they leave it: once the last one lies outside, no unseen one counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from t2c_search.query.execution.fronts import Found, Front, read_all, scored
from t2c_search.query.planning.halfspace import enclose_best, enclose_passing
from t2c_search.query.planning.planner import Branch
from t2c_search.query.planning.probe import Probe, aim
from t2c_search.query.planning.regions import AT_ONCE
from t2c_search.query.planning.tail import value_at
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import Points, ScoredPoints, VectorQuery

FIRST_CANDIDATES = 2000
"""At most this many in a branch's first search: past it the engine's time grows faster than certainty."""
_SPARE = 16  # beyond those needed, so that scores equal to single precision do not hold a certificate back
_GENEROSITY = 1.5  # times the number that the sample suggests
_CAUTION = 4  # times k, where scores saturate: a guess too high costs a second search, one too low a few candidates
_WIDENING = 8  # times the last number, when not even k images that count were found
FEW_PAYLOADS = 40
"""Candidates whose payloads the embedded engine reads in the time that it takes to fetch those of 20 hits alone. Of any
number, the payloads from a server are a tenth of the vectors, and spare the wait for another request."""
LEAST_EF, _EF_FACTOR = 400, 2  # neighbours the index looks at, at least and per candidate


@dataclass(frozen=True, slots=True)
class Effort:
    """How to search a collection of ``points`` images: ``exact`` scans every vector instead of asking the index.

    ``candidates`` examined, or the clock at the ``deadline`` (``time.perf_counter``), end it with an uncertified answer.
    """

    points: int
    exact: bool
    candidates: int
    deadline: float = np.inf


@dataclass(slots=True)
class TopK:
    """The k best images over all branches, by descending score and ascending id, and the fronts that vouch for them."""

    k: int
    fronts: list[Front]
    found: list[Found] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """Score of the k-th best so far; minus infinity while there are fewer."""
        return self.found[-1].score if len(self.found) == self.k else -np.inf

    @property
    def open(self) -> list[Front]:
        """Branches that may hold an unseen image for the top k."""
        return [front for front in self.fronts if front.bound > -np.inf and front.bound >= self.worst]

    @property
    def gap(self) -> float:
        """How much more than the k-th best an unseen image may score; 0 when the k best are certain."""
        return max((front.bound - self.worst for front in self.open), default=0.0)

    @property
    def candidates(self) -> int:
        """Images examined, counting those that several searches returned as often."""
        return sum(front.candidates for front in self.fronts)

    def add(self, found: Iterable[Found]) -> None:
        """Take in scored images; one that several branches found counts with its best score."""
        best: dict[str, Found] = {}
        for each in (*self.found, *found):
            if each.id not in best or each.score > best[each.id].score:
                best[each.id] = each
        self.found = sorted(best.values(), key=lambda each: (-each.score, each.id))[: self.k]


def find_top(store: VectorStore, branches: Sequence[Branch], k: int, effort: Effort) -> TopK:
    """Find the k best of a collection's images, until they are certain or a limit is reached."""
    # no score asked of a branch may exceed its ceiling: half-spaces for such scores lie beyond all precision
    top = TopK(k, [Front(number, branch, bound=branch.ranking.ceiling) for number, branch in enumerate(branches)])
    for front in top.fronts:
        if not front.branch.axes and not _is_over(top, effort):
            top.add(_first_matching(store, front, k))
        elif front.branch.factors is not None:
            _read(store, front, top, effort)
    asked = {front.number: store.asked(front.branch.where) for front in top.open}
    while (waiting := [front for front in top.open if front.branch.factors is None]) and not _is_over(top, effort):
        left = effort.candidates - top.candidates
        if left <= 0:
            break
        waiting = waiting[:left]
        allowance = left // len(waiting)
        searches = [_next_search(front, top, effort.points, allowance) for front in waiting]
        limited = effort.deadline < np.inf  # then no call follows the last search
        with_payload = limited or store.capabilities.concurrent or sum(each.limit for each in searches) <= FEW_PAYLOADS
        queries = [
            replace(each.query(effort.exact), where=asked[front.number], with_payload=with_payload)
            for front, each in zip(waiting, searches, strict=True)
        ]
        answers = store.search(queries)
        brought = [_take(top, *each, with_payload) for each in zip(waiting, searches, answers, strict=True)]
        if not any(brought):
            break  # rounding has eaten the half-spaces' slack: asking again would answer the same
    return top


def _read(store: VectorStore, front: Front, top: TopK, effort: Effort) -> None:
    """Score the images of a branch that asks for regions, whose best no half-space encloses: all of them where that is exact.

    Otherwise only those, as many as the effort allows, that are the nearest to its first region as whole images: that bounds
    nothing.
    """
    branch = front.branch
    if effort.exact:
        front.path = "scan"
        batches = read_all(store, branch.where, [branch])
    else:
        batches = _nearest_whole(store, branch, effort)
    front.rounds = 1
    for batch in batches:
        front.candidates += len(batch)
        top.add(scored(batch, front, top.k))
        if time.perf_counter() > effort.deadline:
            return
    if effort.exact:
        front.bound = -np.inf


def _nearest_whole(store: VectorStore, branch: Branch, effort: Effort) -> Iterator[Points]:
    """Yield the images that are nearest to a branch's first region as whole images, with what its cosines are read off."""
    term = next(term for term in branch.ranking.terms if branch.axes[term.axis].regions is not None)
    direction = (term.sign * branch.axes[term.axis].direction).astype(np.float32)
    (found,) = store.search([VectorQuery(direction, effort.candidates, where=branch.where, hnsw_ef=effort.candidates)])
    for start in range(0, len(found), AT_ONCE):
        yield store.fetch(found.ids[start : start + AT_ONCE], vectors=branch.vectors, payload=False)


def _is_over(top: TopK, effort: Effort) -> bool:
    """Tell whether time is up; the first call of the store is made all the same."""
    return any(front.rounds for front in top.fronts) and time.perf_counter() > effort.deadline


def _take(top: TopK, front: Front, search: _Search, answer: ScoredPoints, with_payload: bool) -> bool:
    """Take in an answer, and tell whether it brought anything: candidates, or a lower bound."""
    front.rounds += 1
    front.candidates += len(answer)
    front.wanted, front.half = search.limit, search.probe.half
    bound = search.probe.bound(answer, search.limit, enclosed=search.enclosed)
    lowered = bound < front.bound
    front.bound = min(front.bound, bound)
    top.add(scored(answer, front, top.k, with_payload=with_payload))
    return lowered or len(answer) > 0


@dataclass(frozen=True, slots=True)
class _Search:
    """The next search of a branch; ``enclosed`` when nothing outside its half-space can count, so none is asked for."""

    probe: Probe
    limit: int
    enclosed: bool

    def query(self, exact: bool) -> VectorQuery:
        hnsw_ef = max(LEAST_EF, _EF_FACTOR * self.limit)
        return self.probe.query(self.limit, enclosed=self.enclosed, exact=exact, hnsw_ef=hnsw_ef)


def _next_search(front: Front, top: TopK, points: int, allowance: int) -> _Search:
    branch, worst, k = front.branch, top.worst, top.k
    if worst == -np.inf and front.rounds:  # gates let too few through: enclose what passes them
        half = enclose_passing(branch.gates, branch.correlation)
        if half.normal.any():
            return _Search(aim(branch, half), min(_WIDENING * front.wanted, allowance), True)
    caution = 1 if branch.ranking.ceiling == np.inf else _CAUTION
    hoped = -np.inf if front.rounds and worst > -np.inf else _likely(branch, caution * k / max(points, 1))
    known = worst >= hoped
    score = max(worst, hoped)  # what matches a condition alone scores 0, and others may do much better
    probe = aim(branch, enclose_best(branch.gates, branch.correlation, branch.ranking, score, branch.peak))
    if not front.rounds and branch.ranking.linear and not len(branch.gates[1]):
        return _Search(probe, min(k + _SPARE, allowance), known)
    likely = int(_GENEROSITY * probe.share() * points)
    enough = max(likely, 2 * front.wanted) if front.rounds else min(max(likely, k), FIRST_CANDIDATES)
    return _Search(probe, min(enough + _SPARE, allowance), known)


def _likely(branch: Branch, share: float) -> float:
    """Guess the score that a share of the collection reaches, from its sample."""
    if not len(branch.best):
        return min(0.0, branch.ranking.ceiling - 1)
    likely = value_at(branch.best, share * len(branch.sample))
    return min(likely, (float(branch.best[0]) + branch.ranking.ceiling) / 2)


def _first_matching(store: VectorStore, front: Front, k: int) -> list[Found]:
    """Take the first k points of a branch that asks for no meaning: all score alike, so their ids decide."""
    found: list[Found] = []
    for batch in store.scan(where=front.branch.where, batch_size=min(k, 1000)):
        points = zip(batch.ids, batch.payloads, strict=True)
        found += [Found(point, 0.0, front.number, np.empty(0), payload) for point, payload in points]
        if len(found) >= k:
            break
    front.path, front.bound, front.rounds, front.candidates = "scan", -np.inf, 1, len(found)
    return found[:k]
