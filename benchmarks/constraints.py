"""Logic over meanings on real photographs: ranking against what others do, and thresholds against the best possible.

    python -m benchmarks.constraints [--quick] [--json]

Ranking: mean average precision over the test split of Flickr8k captions, relevance from caption words. The peers run on
the same vectors: the weighted vector sum and difference of Marqo and rclip, intersecting two top-N lists, and the whole
sentence, "without" included, to the text encoder. Thresholds: F1 of ``mine`` at the default threshold, after 20 marked
photos, and at each concept's own best threshold.
"""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from benchmarks._captions import Photos, average_precision, load_photos, phrase
from benchmarks._common import Bar, finish, options, table
from t2c_search.query.engine import Engine
from t2c_search.query.saved import SavedConcept, fit_concept
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.types import CLIP, Points

LEAST_SHOWN = 18  # photos that must show a noun for it to be asked
LEAST_RELEVANT = 10  # photos that must be relevant to a question
LEAST_EXCLUDED = 5  # photos that a NOT must take away, or it asks nothing
TOP_N = 100  # of the lists that are intersected
FREQUENT = 20  # nouns whose thresholds are judged
MARKED = 20
DEFAULT_BAR, MARKED_BAR = 0.85, 0.95  # of each concept's own best F1

Question = tuple[tuple[str, ...], tuple[str, ...]]
"""Nouns that are wanted and nouns that are not."""
Order = NDArray[np.int64]


class Bench:
    """The photos in an embedded store, an engine over it, and the peers on the same vectors."""

    def __init__(self, photos: Photos, store: VectorStore) -> None:
        self.photos = photos
        self.ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in photos.names]
        self.places = {point: at for at, point in enumerate(self.ids)}
        self.shown = {noun: photos.shows(noun) for noun in photos.frequent(LEAST_SHOWN)}
        self.store = store
        store.create(CollectionSpec({CLIP: photos.rows.shape[1]}, {}))
        store.upsert(Points(self.ids, [{"path": name} for name in photos.names], {CLIP: photos.rows}))
        self.statistics = VectorStatistics(photos.rows.shape[1])
        self.statistics.add(self.ids, photos.rows)
        self.engine = self.engine_with({})

    def engine_with(self, concepts: dict[str, SavedConcept]) -> Engine:
        """Make an engine that knows these concepts."""

        def no_image(path: str) -> NDArray[np.float32]:
            raise AssertionError(f"no question asks for an image, such as {path}")

        return Engine(
            self.store, self.statistics, embed_texts=self.photos.embed_texts, embed_image=no_image, concepts=concepts
        )

    def relevant(self, question: Question) -> NDArray[np.bool_]:
        """Tell which photos answer a question."""
        wanted, unwanted = question
        every = np.logical_and.reduce([self.shown[noun] for noun in wanted])
        return every & ~np.logical_or.reduce([self.shown[noun] for noun in unwanted] or [np.zeros_like(every)])

    def text(self, noun: str) -> NDArray[np.float32]:
        """Embed a noun, as typed."""
        return self.photos.embed_texts([phrase(noun)])[0]

    def ours(self, question: Question) -> Order:
        """Rank by the engine, scanning every vector."""
        wanted, unwanted = ([f'"{phrase(noun)}"' for noun in nouns] for nouns in question)
        expression = " AND ".join([*wanted, *(f"NOT {text}" for text in unwanted)])
        found = self.engine.search(expression, len(self.ids), exact=True)
        return np.array([self.places[hit.id] for hit in found])

    def vector_sum(self, weight: float) -> Callable[[Question], Order]:
        """Make the ranking by a weighted sum of text vectors."""

        def order(question: Question) -> Order:
            wanted, unwanted = (sum(self.text(noun) for noun in nouns) for nouns in question)
            return np.argsort(-(self.photos.rows @ (wanted - weight * unwanted)), kind="stable")

        return order

    def intersection(self, question: Question) -> Order:
        """Photos in the top N of everything wanted and of nothing unwanted, by the sum of their ranks."""
        ranks = {noun: np.argsort(np.argsort(-(self.photos.rows @ self.text(noun)))) for noun in sum(question, ())}
        inside = np.logical_and.reduce([ranks[noun] < TOP_N for noun in question[0]])
        inside &= np.logical_and.reduce([ranks[noun] >= TOP_N for noun in question[1]] or [inside])
        kept = np.flatnonzero(inside)
        return kept[np.argsort(sum(ranks[noun][kept] for noun in question[0]), kind="stable")]

    def sentence(self, question: Question) -> Order:
        """Rank by one text that says it all."""
        wanted, unwanted = (" and ".join(phrase(noun) for noun in nouns) for nouns in question)
        text = f"{wanted} without {unwanted}" if unwanted else wanted
        return np.argsort(-(self.photos.rows @ self.photos.embed_texts([text])[0]), kind="stable")


def questions(bench: Bench) -> dict[str, list[Question]]:
    """Every combination of the nouns that enough photos answer, and whose NOT takes enough photos away."""

    def asks(question: Question) -> bool:
        kept, without_not = (int(bench.relevant(each).sum()) for each in (question, (question[0], ())))
        return kept >= LEAST_RELEVANT and (not question[1] or without_not - kept >= LEAST_EXCLUDED)

    nouns = list(bench.shown)
    pairs = list(combinations(nouns, 2))
    asked: dict[str, list[Question]] = {
        "A": [((a,), ()) for a in nouns],
        "A AND B": [(pair, ()) for pair in pairs],
        "A AND NOT B": [((a,), (b,)) for a, b in permutations(nouns, 2)],
        "A AND B AND NOT C": [(pair, (c,)) for pair in pairs for c in nouns if c not in pair],
    }
    return {kind: [question for question in each if asks(question)] for kind, each in asked.items()}


def rank(bench: Bench, quick: bool) -> dict[str, dict[str, float]]:
    """Mean average precision by kind of question and method, with the number of questions."""
    methods: dict[str, Callable[[Question], Order]] = {
        "ours": bench.ours,
        "vector sum, NOT -1": bench.vector_sum(1.0),
        "vector sum, NOT -0.5": bench.vector_sum(0.5),
        f"intersect top {TOP_N}": bench.intersection,
        "whole sentence": bench.sentence,
    }
    found: dict[str, dict[str, float]] = {}
    for kind, asked in questions(bench).items():
        some = asked[:: max(len(asked) // 40, 1)] if quick else asked
        found[kind] = {"questions": len(some)} | {
            name: float(np.mean([average_precision(order(each), bench.relevant(each)) for each in some]))
            for name, order in methods.items()
        }
    return found


def f1(found: NDArray[np.bool_], relevant: NDArray[np.bool_]) -> float:
    return float(2 * (found & relevant).sum() / (found.sum() + relevant.sum()))


def thresholds(bench: Bench, nouns: Sequence[str]) -> dict[str, dict[str, float]]:
    """F1 by noun: at the default threshold, after marking, and at the best threshold of the noun's own ranking."""
    found = {}
    for noun in nouns:
        relevant = bench.shown[noun]
        order = bench.ours(((noun,), ()))
        hits = np.cumsum(relevant[order])
        best = (2 * hits / (np.arange(1, len(hits) + 1) + relevant.sum())).max()
        marked = order[np.linspace(0, len(order) // 2, MARKED).astype(int)]
        taught = _taught(bench, noun, marked[relevant[marked]], marked[~relevant[marked]])
        found[noun] = {
            "shown by": int(relevant.sum()),
            "default": f1(_mined(bench, bench.engine, f'"{phrase(noun)}"'), relevant),
            "marked": f1(_mined(bench, bench.engine_with({"it": taught}), "@it"), relevant),
            "best": float(best),
        }
    return found


def _taught(bench: Bench, noun: str, yes: Order, no: Order) -> SavedConcept:
    text = bench.photos.embed_texts([phrase(noun)])[0].astype(np.float64)
    return fit_concept("it", bench.photos.rows[yes], bench.photos.rows[no], bench.engine.calibration, text)


def _mined(bench: Bench, engine: Engine, expression: str) -> NDArray[np.bool_]:
    found = np.zeros(len(bench.ids), bool)
    found[[bench.places[hit.id] for hit in engine.mine(expression)]] = True
    return found


def bars(ranking: dict[str, dict[str, float]], of_best: dict[str, float]) -> list[Bar]:
    """Ours is at least as good as the best of the others wherever there is logic, and the thresholds near the best."""
    found = []
    for kind, figures in ranking.items():
        others = {name: value for name, value in figures.items() if name not in ("ours", "questions")}
        if kind != "A":
            best = max(others, key=lambda name: others[name])
            found.append(Bar(f"{kind}, against {best}", figures["ours"], others[best]))
    found += [Bar("F1 at the default threshold, of the best", of_best["default"], DEFAULT_BAR)]
    return [*found, Bar(f"F1 after {MARKED} marked photos, of the best", of_best["marked"], MARKED_BAR)]


def main() -> int:
    chosen = options("constraints", __doc__)
    photos = load_photos(quick=chosen.quick)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder, "captions")
        bench = Bench(photos, store)
        ranking = rank(bench, chosen.quick)
        judged = thresholds(bench, list(bench.shown)[:FREQUENT])
        store.close()
    columns = ("default", "marked", "best")
    judged["mean"] = {column: float(np.mean([row[column] for row in judged.values()])) for column in columns}
    of_best = {column: judged["mean"][column] / judged["mean"]["best"] for column in columns}
    by_method = {row: {kind: figures[row] for kind, figures in ranking.items()} for row in next(iter(ranking.values()))}
    tables = [
        table(
            f"Mean average precision, {len(photos.names)} photos; {', '.join(bench.shown)}", by_method, list(ranking)
        ),
        table("F1 of mine, the most frequent nouns", judged, ("shown by", *columns)),
    ]
    figures = {"nouns": list(bench.shown), "mean_average_precision": ranking, "f1": judged}
    return finish("constraints", chosen, figures, tables, bars(ranking, of_best))


if __name__ == "__main__":
    sys.exit(main())
