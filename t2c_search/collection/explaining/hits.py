"""Why images are hits of an expression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

from t2c_search.collection.explaining.sources import places_of, words_of
from t2c_search.collection.removing import present
from t2c_search.collection.search_index import is_scanned
from t2c_search.collection.snapshot import Snapshot, Snapshots
from t2c_search.errors import ImageError, UsageError
from t2c_search.explain.explainer import Explainer, Sources
from t2c_search.explain.explanation import Explanation, Explanations
from t2c_search.filters import Filter
from t2c_search.query.execution.searcher import Expression, Wanted, check_limit
from t2c_search.query.language.constraints import Constraint
from t2c_search.query.language.printer import unparse
from t2c_search.results import Hit
from t2c_search.sources.addresses import is_remote
from t2c_search.sources.arguments import as_list, check_kind
from t2c_search.sources.inputs import ImageInput
from t2c_search.types import Failure, Points


class ExplainingHits:
    """Why images are hits of an expression."""

    _snapshots: Snapshots

    def explain(
        self,
        query: Expression | None = None,
        *,
        where: str | Filter | None = None,
        rank: int = 1,
        hits: Hit | Sequence[Hit] | None = None,
        ids: str | Iterable[str] = (),
        paths: str | Path | Iterable[str | Path] = (),
        method: str = "auto",
        counterfactual: bool = True,
    ) -> Explanations:
        """Say why the image of a ``rank`` is a hit: what each literal gives to its score, where, and in which words.

        Or explain any images of the collection, hits or not: some ``hits`` of a search, ``ids``, or ``paths``. Each literal has
        a map over the image (negated ones with their signs turned, so that what speaks for the hit is above 0), the words of
        its text, and its contribution in standard deviations of the score, which sum to it; the literal is told without which
        the rank would change most. For that all vectors that meet the conditions are read once, tens of thousands a
        second, however many images are explained: ``counterfactual=False`` does without ranks.

        Their vectors are taken apart by ``method``, a name that ``t2c models`` tells; ``auto`` is the one that suits the backbone
        (Moeller et al., TMLR 2025). For that the images are opened, unless the collection was indexed with ``explainable``.

        Raises ExpressionError for an expression that cannot be read; UsageError where nothing has that rank or id, for a
        backbone that sees no images, and for a method that is not for it; ImageError where no image can be read; of
        several, those that cannot are the result's ``failures``.
        """
        check_kind("rank", rank, Integral, "a whole number")
        check_limit("rank", rank)
        named = {each: f"of the id {each!r}" for each in as_list("ids", ids)}
        named |= {id_of(path): f"at {path}" for path in as_list("paths", paths)}
        shown = [hits] if isinstance(hits, Hit) else hits
        named |= {hit.id: f"at {hit.path} any more" for hit in shown or ()}
        chosen = _Chosen(rank, None if shown is None and not named else named)

        def answer(now: Snapshot) -> Explanations:
            tree = now.asked_and_loaded(query, where)
            sources = Sources(places_of(now, method), words_of(now))
            explainer = Explainer(now.searcher(), tree, sources, counterfactual=counterfactual)
            told = list(explainer.explain(chosen.images(now, tree, explainer.vectors)))
            failures = tuple(each for each in told if isinstance(each, Failure))
            if failures and len(failures) == len(told):
                raise ImageError(failures[0].reason, path=failures[0].path)
            return Explanations(unparse(tree), tuple(each for each in told if isinstance(each, Explanation)), failures)

        return self._snapshots.ask(answer)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which images to explain: some by their ids, with how they were named, or else the one of a rank."""

    rank: int
    named: Mapping[str, str] | None

    def images(self, now: Snapshot, tree: Constraint, vectors: tuple[str, ...]) -> Points:
        """Return the images, each once, with vectors and payloads. Raises UsageError where one is not there."""
        ids = [self._ranked(now, tree)] if self.named is None else list(self.named)
        points = now.store.fetch(present(now.store, ids), vectors=vectors)
        at = {point_id: row for row, point_id in enumerate(points.ids)}
        for each in ids:
            if each not in at:
                raise UsageError(f"the collection has no image {(self.named or {}).get(each, each)}")
        return points.take([at[each] for each in ids])

    def _ranked(self, now: Snapshot, tree: Constraint) -> str:
        searcher = now.searcher()
        found = searcher.search(tree, Wanted(self.rank, exact=is_scanned(searcher.calibration.count)))
        if len(found) < self.rank:
            there = "no image matches" if not found else f"the expression finds {len(found)} images"
            raise UsageError(f"{there}, and so none of rank {self.rank}: explain any other image by its id or path")
        return found[self.rank - 1].id


def id_of(path: str) -> str:
    """Return the id of the image at a path, as indexing makes it."""
    return ImageInput(path if is_remote(path) else Path(path).absolute().as_posix(), 0, 0).id
