"""Logic over meanings on real photographs: ranking against what others do, and thresholds against the best possible.

    python -m benchmarks.constraints [--quick] [--json]

Ranking: mean average precision over the test split of Flickr8k captions, relevance from caption words. The peers run on
the same vectors: the weighted vector sum and difference of Marqo and rclip, intersecting two top-N lists, and the whole
sentence, "without" included, to the text encoder. Thresholds: F1 of ``mine`` at the default threshold, after 20 marked
photos, and at each concept's own best threshold. The 20 are what a user marks who goes through the hits with large steps:
one every so many from the top to the middle of the ranking, each told yes or no as it comes. ``mine`` is judged on the whole
collection, and beside it on the photos that were not marked, where nothing is found for having been marked; the mean over
five places to start from is told.
"""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._captions import average_precision, load_photos, phrase
from benchmarks._common import Bar, finish, options, table
from t2c_search.concepts.saved import fit_concept
from t2c_search.query.execution.searcher import Known, Searcher, Wanted
from t2c_search.query.planning.texts import EmbedTexts, Texts
from t2c_search.state.concepts import SavedConcept
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import open_store
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.types import CLIP, FloatArray, Points

LEAST_SHOWN = 18  # images that must show a text's noun for it to be asked
LEAST_RELEVANT = 10  # photos that must be relevant to a question
LEAST_EXCLUDED = 5  # photos that a NOT must take away, or it asks nothing
TOP_N = 100  # of the lists that are intersected
FREQUENT = 20  # texts, the most frequent ones, whose thresholds are judged
MARKED, MARKINGS = 20, 5  # images marked, and how often anew
F1_COLUMNS = ("default", "marked", "best", "default, unmarked", "marked, unmarked", "best, unmarked")
DEFAULT_BAR, MARKED_BAR = 0.85, 0.95  # of each concept's own best F1

Question = tuple[tuple[str, ...], tuple[str, ...]]
"""Texts that are wanted and texts that are not."""
Order = NDArray[np.int64]


class Bench:
    """Images in an embedded store, what texts are true of which, an engine, and the peers on the same vectors."""

    def __init__(
        self, store: VectorStore, rows: FloatArray, shown: dict[str, NDArray[np.bool_]], embed_texts: EmbedTexts
    ) -> None:
        self.store, self.rows, self.shown, self.embed_texts = store, rows, shown, embed_texts
        self.texts = Texts(embed_texts)
        self.ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))) for number in range(len(rows))]
        self.places = {point: at for at, point in enumerate(self.ids)}
        store.create(CollectionSpec.of({CLIP: rows.shape[1]}, {}))
        store.upsert(Points(self.ids, [{} for _ in self.ids], {CLIP: rows}))
        self.statistics = VectorStatistics(rows.shape[1])
        self.statistics.add(self.ids, rows)
        self.engine = self.engine_with({})

    def engine_with(self, concepts: dict[str, SavedConcept]) -> Searcher:
        """Make an engine that knows these concepts."""

        def no_image(path: str) -> NDArray[np.float32]:
            raise AssertionError(f"no question asks for an image, such as {path}")

        return Searcher(self.store, Known(self.statistics, concepts=concepts), self.texts, no_image)

    def relevant(self, question: Question) -> NDArray[np.bool_]:
        """Tell which photos answer a question."""
        wanted, unwanted = question
        every = np.logical_and.reduce([self.shown[text] for text in wanted])
        return every & ~np.logical_or.reduce([self.shown[text] for text in unwanted] or [np.zeros_like(every)])

    def text(self, text: str) -> FloatArray:
        """Embed a text, as typed."""
        return self.embed_texts([text])[0]

    def ours(self, question: Question) -> Order:
        """Rank by the engine, scanning every vector."""
        wanted, unwanted = ([f'"{text}"' for text in texts] for texts in question)
        expression = " AND ".join([*wanted, *(f"NOT {text}" for text in unwanted)])
        found = self.engine.search(expression, Wanted(len(self.ids), exact=True))
        return np.array([self.places[hit.id] for hit in found])

    def vector_sum(self, weight: float) -> Callable[[Question], Order]:
        """Make the ranking by a weighted sum of text vectors."""

        def order(question: Question) -> Order:
            wanted, unwanted = (sum(self.text(text) for text in texts) for texts in question)
            return np.argsort(-(self.rows @ (wanted - weight * unwanted)), kind="stable")

        return order

    def intersection(self, question: Question) -> Order:
        """Photos in the top N of everything wanted and of nothing unwanted, by the sum of their ranks."""
        ranks = {text: np.argsort(np.argsort(-(self.rows @ self.text(text)))) for text in sum(question, ())}
        inside = np.logical_and.reduce([ranks[text] < TOP_N for text in question[0]])
        inside &= np.logical_and.reduce([ranks[text] >= TOP_N for text in question[1]] or [inside])
        kept = np.flatnonzero(inside)
        return kept[np.argsort(sum(ranks[text][kept] for text in question[0]), kind="stable")]

    def sentence(self, question: Question) -> Order:
        """Rank by one text that says it all."""
        wanted, unwanted = (" and ".join(texts) for texts in question)
        text = f"{wanted} without {unwanted}" if unwanted else wanted
        return np.argsort(-(self.rows @ self.text(text)), kind="stable")


def questions(bench: Bench) -> dict[str, list[Question]]:
    """Every combination of the texts that enough photos answer, and whose NOT takes enough photos away."""

    def asks(question: Question) -> bool:
        kept, without_not = (int(bench.relevant(each).sum()) for each in (question, (question[0], ())))
        return kept >= LEAST_RELEVANT and (not question[1] or without_not - kept >= LEAST_EXCLUDED)

    texts = list(bench.shown)
    pairs = list(combinations(texts, 2))
    asked: dict[str, list[Question]] = {
        "A": [((a,), ()) for a in texts],
        "A AND B": [(pair, ()) for pair in pairs],
        "A AND NOT B": [((a,), (b,)) for a, b in permutations(texts, 2)],
        "A AND B AND NOT C": [(pair, (c,)) for pair in pairs for c in texts if c not in pair],
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


def thresholds(bench: Bench, texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """F1 by text: at the default threshold, after marking, and at the best threshold of the text's own ranking."""
    found = {}
    for text in texts:
        order, mined = bench.ours(((text,), ())), _mined(bench, bench.engine, f'"{text}"')
        judged = [_judge(bench, text, order, mined, marked) for marked in markings(order)]
        means = {column: float(np.mean([each[column] for each in judged])) for column in F1_COLUMNS}
        found[text] = {"shown by": int(bench.shown[text].sum()), **means}
    return found


def markings(order: Order) -> list[Order]:
    """What is marked of a ranking, ``MARKINGS`` times: one of every so many from the top down to the middle."""
    step = len(order) / 2 / MARKED
    return [order[((np.arange(MARKED) + start / MARKINGS) * step).astype(int)] for start in range(MARKINGS)]


def _judge(bench: Bench, text: str, order: Order, mined: NDArray[np.bool_], marked: Order) -> dict[str, float]:
    """F1 on all images, and on those that were not marked."""
    relevant = bench.shown[text]
    taught = _taught(bench, text, marked[relevant[marked]], marked[~relevant[marked]])
    found = _mined(bench, bench.engine_with({"it": taught}), "@it")
    everything = np.ones(len(order), bool)
    figures = []
    for judged in (everything, ~np.isin(np.arange(len(order)), marked)):
        hits = np.cumsum(relevant[order[judged[order]]])
        best = (2 * hits / (np.arange(1, len(hits) + 1) + hits[-1])).max()
        figures += [f1(mined[judged], relevant[judged]), f1(found[judged], relevant[judged]), float(best)]
    return dict(zip(F1_COLUMNS, figures, strict=True))


def _taught(bench: Bench, text: str, yes: Order, no: Order) -> SavedConcept:
    engine = bench.engine
    return fit_concept("it", bench.rows[yes], bench.rows[no], engine.calibration, bench.texts.worded([text]))


def _mined(bench: Bench, engine: Searcher, expression: str) -> NDArray[np.bool_]:
    found = np.zeros(len(bench.ids), bool)
    found[[bench.places[hit.id] for hit in engine.mine(expression)]] = True
    return found


def with_mean(judged: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Add the mean of the F1 columns, and what share of the best they are."""
    means = {column: float(np.mean([row[column] for row in judged.values()])) for column in F1_COLUMNS}
    bests = {column: means[f"best{column.removeprefix(column.split(',')[0])}"] for column in F1_COLUMNS}
    shares = {column: mean / bests[column] for column, mean in means.items()}
    return judged | {"mean": means, "of the best": shares}


def f1_bars(world: str, judged: dict[str, dict[str, Any]]) -> list[Bar]:
    """The default threshold and the taught one come near each text's own best."""
    share = judged["of the best"]
    return [
        Bar(f"{world}: F1 at the default threshold, of the best", share["default"], DEFAULT_BAR),
        Bar(f"{world}: F1 after {MARKED} marked images, of the best", share["marked"], MARKED_BAR),
    ]


def ranking_bars(ranking: dict[str, dict[str, float]]) -> list[Bar]:
    """Ours is at least as good as the best of the others wherever there is logic."""
    found = []
    for kind, figures in ranking.items():
        others = {name: value for name, value in figures.items() if name not in ("ours", "questions")}
        if kind != "A":
            best = max(others, key=lambda name: others[name])
            found.append(Bar(f"{kind}, against {best}", figures["ours"], others[best]))
    return found


def main() -> int:
    chosen = options("constraints", __doc__)
    photos = load_photos(quick=chosen.quick)
    shown = {phrase(noun): photos.shows(noun) for noun in photos.frequent(LEAST_SHOWN)}
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder, "captions")
        bench = Bench(store, photos.rows, shown, photos.embed_texts)
        ranking = rank(bench, chosen.quick)
        judged = with_mean(thresholds(bench, list(shown)[:FREQUENT]))
        store.close()
    by_method = {row: {kind: figures[row] for kind, figures in ranking.items()} for row in next(iter(ranking.values()))}
    title = f"Mean average precision over {len(photos.names)} photos: {', '.join(shown)}"
    tables = [table(title, by_method, list(ranking)), table("F1 of mine", judged, ("shown by", *F1_COLUMNS))]
    figures = {"texts": list(shown), "mean_average_precision": ranking, "f1": judged}
    return finish("constraints", chosen, figures, tables, [*ranking_bars(ranking), *f1_bars("photos", judged)])


if __name__ == "__main__":
    sys.exit(main())
