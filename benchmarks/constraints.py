"""Logic over meanings on real photographs: ranking against what others do, and thresholds against the best possible.

    python -m benchmarks.constraints [--quick] [--json]

Ranking: mean average precision over the test split of Flickr8k captions, relevance from caption words. The peers run on
the same vectors: the weighted vector sum and difference of Marqo and rclip, intersecting two top-N lists, and the whole
sentence, "without" included, to the text encoder. Thresholds: F1 of ``mine`` at the default threshold, after 20 marked
photos, and at each concept's own best threshold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from benchmarks._captions import Photos, average_precision, load_photos, phrase
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
        def no_image(path: str) -> NDArray[np.float32]:
            raise AssertionError(f"no question asks for an image, such as {path}")

        return Engine(
            self.store, self.statistics, embed_texts=self.photos.embed_texts, embed_image=no_image, concepts=concepts
        )

    def relevant(self, question: Question) -> NDArray[np.bool_]:
        wanted, unwanted = question
        every = np.logical_and.reduce([self.shown[noun] for noun in wanted])
        return every & ~np.logical_or.reduce([self.shown[noun] for noun in unwanted] or [np.zeros_like(every)])

    def text(self, noun: str) -> NDArray[np.float32]:
        return self.photos.embed_texts([phrase(noun)])[0]

    def ours(self, question: Question) -> Order:
        wanted, unwanted = ([f'"{phrase(noun)}"' for noun in nouns] for nouns in question)
        expression = " AND ".join([*wanted, *(f"NOT {text}" for text in unwanted)])
        found = self.engine.search(expression, len(self.ids), exact=True)
        return np.array([self.places[hit.id] for hit in found])

    def vector_sum(self, weight: float) -> Callable[[Question], Order]:
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
    table: dict[str, dict[str, float]] = {}
    for kind, asked in questions(bench).items():
        some = asked[:: max(len(asked) // 40, 1)] if quick else asked
        table[kind] = {"questions": float(len(some))} | {
            name: float(np.mean([average_precision(order(each), bench.relevant(each)) for each in some]))
            for name, order in methods.items()
        }
    return table


def f1(found: NDArray[np.bool_], relevant: NDArray[np.bool_]) -> float:
    return float(2 * (found & relevant).sum() / (found.sum() + relevant.sum()))


def thresholds(bench: Bench, nouns: Sequence[str]) -> dict[str, dict[str, float]]:
    """F1 by noun: at the default threshold, after marking, and at the best threshold of the noun's own ranking."""
    table = {}
    for noun in nouns:
        relevant = bench.shown[noun]
        order = bench.ours(((noun,), ()))
        hits = np.cumsum(relevant[order])
        best = (2 * hits / (np.arange(1, len(hits) + 1) + relevant.sum())).max()
        marked = order[np.linspace(0, len(order) // 2, MARKED).astype(int)]
        taught = _taught(bench, noun, marked[relevant[marked]], marked[~relevant[marked]])
        table[noun] = {
            "shown by": float(relevant.sum()),
            "default": f1(_mined(bench, bench.engine, f'"{phrase(noun)}"'), relevant),
            "marked": f1(_mined(bench, bench.engine_with({"it": taught}), "@it"), relevant),
            "best": float(best),
        }
    return table


def _taught(bench: Bench, noun: str, yes: Order, no: Order) -> SavedConcept:
    text = bench.photos.embed_texts([phrase(noun)])[0].astype(np.float64)
    return fit_concept("it", bench.photos.rows[yes], bench.photos.rows[no], bench.engine.calibration, text)


def _mined(bench: Bench, engine: Engine, expression: str) -> NDArray[np.bool_]:
    found = np.zeros(len(bench.ids), bool)
    found[[bench.places[hit.id] for hit in engine.mine(expression)]] = True
    return found


def missed(ranking: dict[str, dict[str, float]], judged: dict[str, dict[str, float]]) -> list[str]:
    """The bars that the figures do not reach, in words."""
    short = []
    for kind, figures in ranking.items():
        name, best = max(((n, v) for n, v in figures.items() if n not in ("ours", "questions")), key=lambda it: it[1])
        if kind != "A" and figures["ours"] < best:
            short.append(f"{kind}: ours {figures['ours']:.3f} is below {name}, {best:.3f}")
    means = {column: np.mean([row[column] for row in judged.values()]) for column in ("default", "marked", "best")}
    for column, bar in (("default", DEFAULT_BAR), ("marked", MARKED_BAR)):
        if means[column] < bar * means["best"]:
            short.append(f"{column} threshold: {means[column] / means['best']:.3f} of the best F1, bar {bar}")
    return short


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.constraints", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer pairs to fit the aligner on, and fewer questions")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    started = time.perf_counter()
    photos = load_photos(quick=options.quick)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder, "captions")
        bench = Bench(photos, store)
        ranking = rank(bench, options.quick)
        judged = thresholds(bench, list(bench.shown)[:FREQUENT])
        store.close()
    short = missed(ranking, judged)
    seconds = time.perf_counter() - started
    if options.json:
        figures = {"mean_average_precision": ranking, "f1": judged, "nouns": list(bench.shown), "missed": short}
        print(json.dumps(figures | {"photos": len(photos.names), "seconds": seconds}, indent=2))
        return bool(short)
    show(ranking, judged, len(photos.names), list(bench.shown))
    print(f"{seconds:.0f} s", *short, sep="\n")
    return bool(short)


def show(
    ranking: dict[str, dict[str, float]], judged: dict[str, dict[str, float]], photos: int, nouns: list[str]
) -> None:
    print(f"mean average precision over {photos} test photos; nouns: {', '.join(nouns)}")
    print(f"{'':22}" + "".join(f"{kind:>18}" for kind in ranking))
    for row in next(iter(ranking.values())):
        cells = (figures[row] for figures in ranking.values())
        print(f"{row:22}" + "".join(f"{cell:>18.0f}" if row == "questions" else f"{cell:>18.3f}" for cell in cells))
    print(f"\nF1 of mine, the {len(judged)} most frequent nouns; marked: {MARKED} photos of the upper half of the hits")
    columns = ("shown by", "default", "marked", "best")
    print(f"{'':22}" + "".join(f"{column:>10}" for column in columns))
    for noun, figures in judged.items():
        print(f"{noun:22}{figures['shown by']:>10.0f}" + "".join(f"{figures[each]:>10.3f}" for each in columns[1:]))
    means = {column: float(np.mean([row[column] for row in judged.values()])) for column in columns[1:]}
    print(f"{'mean':32}" + "".join(f"{mean:>10.3f}" for mean in means.values()))
    print(f"{'of the best':32}" + "".join(f"{mean / means['best']:>10.3f}" for mean in means.values()))


if __name__ == "__main__":
    sys.exit(main())
