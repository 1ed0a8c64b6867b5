"""How long constraints take, beside one plain search, what others do for two constraints, and a flat scan.

    python -m benchmarks.query [--points N] [--quick] [--json]

Images of drawn scenes, mixtures of concepts in 512-d, in the embedded store; texts are directions near the concepts, so that no
model's time is in the figures. Every engine time includes parsing, planning and payloads. Exact: all vectors are scanned.
Indexed: the engine's graph. Peers on the same store: one literal's plain top 20, the weighted vector sum, and intersecting two
top-1,000 lists; and a FAISS flat scan in memory. Counting is compared with a full numpy scan.

Each part's figures go to the standard error as soon as they are there. The outcome is kept as ``query.json``, or with the number
of points in its name for other than 100,000. A million points take about 5 GB of memory, 10 GB of disk and half an hour.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks._common import Bar, finish, table
from t2c_search.query.execution.searcher import Known, Searcher, Wanted
from t2c_search.query.language.concepts import Phrase
from t2c_search.query.planning.texts import Texts
from t2c_search.results import SearchResult
from t2c_search.statistics import VectorStatistics
from t2c_search.stores import build_index, open_store
from t2c_search.stores.protocol import CollectionSpec, VectorStore
from t2c_search.types import CLIP, FloatArray, Points, ScoredPoints, VectorQuery

DIM = 512
CONCEPTS = 400
SHOWN = 4  # concepts in one scene
SCENE = 20  # images of one scene
TOP = 20
LIST = 1000  # length of the lists that a peer intersects
REPEATS, QUICK_REPEATS = 60, 15
POINTS, QUICK_POINTS = 100_000, 10_000
BATCH = 2000
DISK_BYTES = 10_000
"""Free bytes needed for a point: the old segments stand beside the merged ones while the graph is built."""
EXACT_BAR, INDEXED_BAR, RECALL_BAR = 1.5, 4.0, 0.99
KINDS = {
    "1 literal": '"{0}"',
    "2 literals": '"{0}" AND NOT "{1}"',
    "4 literals": '"{0}" AND "{1}" AND NOT "{2}" AND NOT "{3}"',
    "OR of three": '"{0}" OR "{1}" OR "{2}"',
}
COUNTS = {"1 threshold": '"{0}" >= 2sd', "2 thresholds": '"{0}" >= 1.5sd AND NOT "{1}" >= 0.5sd'}


class Drawn:
    """Concepts and the images that show them; a text is near its concept, on the texts' side of the gap."""

    def __init__(self, points: int) -> None:
        rng = np.random.default_rng(0)
        self.concepts = _unit(rng.normal(size=(CONCEPTS, DIM)))
        self.gap = _unit(rng.normal(size=DIM))
        spectrum = _unit(np.arange(1, DIM + 1) ** -0.5)  # with which the whole decays as CLIP vectors of photos do
        shown = rng.zipf(1.3, size=(points // SCENE, SHOWN)) % CONCEPTS
        scenes = np.empty((len(shown), DIM), np.float32)
        for start in range(0, len(shown), BATCH):
            part = self.concepts[shown[start : start + BATCH]].sum(1)
            scenes[start : start + BATCH] = part + 1.2 * rng.normal(size=part.shape) * spectrum
        self.rows: FloatArray = np.empty((points, DIM), np.float32)
        for start in range(0, points, BATCH):
            part = scenes[rng.integers(0, len(scenes), min(BATCH, points - start))]
            noise = rng.normal(size=part.shape) * spectrum
            self.rows[start : start + BATCH] = _unit(part + 0.9 * noise - 2 * self.gap)

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Unit rows of texts, each of which names concepts by number."""
        return np.array([self._text(text) for text in texts], np.float32)

    def _text(self, text: str) -> NDArray[np.float64]:
        named = [int(word.strip(",")[1:]) for word in text.split() if word.startswith("c")]
        own = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])).normal(size=DIM)
        return _unit(self.concepts[named].sum(0) + 0.3 * _unit(own) + self.gap)


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class Bench:
    """One embedded collection, the engine over it, and everything that is timed."""

    def __init__(self, drawn: Drawn, store: VectorStore, repeats: int) -> None:
        self.drawn, self.store = drawn, store
        self.statistics = VectorStatistics(DIM)
        self.ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))) for number in range(len(drawn.rows))]
        for start in range(0, len(self.ids), BATCH):
            part = slice(start, start + BATCH)
            self.statistics.add(self.ids[part], drawn.rows[part])
        rng = np.random.default_rng(1)
        frequent = rng.integers(0, CONCEPTS // 4, size=(repeats, 8))
        self.words = [[f"c{number}" for number in dict.fromkeys(row.tolist())][:4] for row in frequent]
        self.words = [row for row in self.words if len(row) == 4]

    def fill(self) -> None:
        """Write the points."""
        self.store.create(CollectionSpec.of({CLIP: DIM}, {}))
        for start in range(0, len(self.ids), BATCH):
            part = slice(start, start + BATCH)
            payloads = [{"path": f"{number}.jpg"} for number in range(start, start + len(self.ids[part]))]
            self.store.upsert(Points(self.ids[part], payloads, {CLIP: self.drawn.rows[part]}))
            if start % (50 * BATCH) == 0:
                _tell(f"{start} of {len(self.ids)} points written")
        self.store.flush()

    def expressions(self, form: str) -> list[str]:
        """Fill a form with the words of each question."""
        return [form.format(*words) for words in self.words]

    def engine(self) -> Searcher:
        """Make an engine over the store as it is now."""

        def no_image(path: str) -> FloatArray:
            raise AssertionError(f"no question asks for an image, such as {path}")

        # pinned, as a collection asks: the store would look at its header with each call otherwise
        return Searcher(self.store.pinned(), Known(self.statistics), Texts(self.drawn.embed), no_image)

    def peers(self, exact: bool) -> dict[str, Callable[[int], Any]]:
        """What others do with the first two words of a question, by its number; texts are embedded beforehand."""
        pairs, store = [self.drawn.embed(words[:2]) for words in self.words], self.store.pinned()

        def plain(vector: FloatArray, limit: int = TOP, payload: bool = True) -> VectorQuery:
            return VectorQuery(vector, limit, exact=exact, with_payload=payload)

        def intersection(at: int) -> list[str]:
            first, second = store.search([plain(row, LIST, False) for row in pairs[at]])
            others = set(second.ids)
            return [point for point in first.ids if point in others][:TOP]

        return {
            "plain search": lambda at: store.search([plain(pairs[at][0])]),
            "vector sum": lambda at: store.search([plain(pairs[at][0] - pairs[at][1])]),
            f"intersect top {LIST}": intersection,
        }

    def searches(self, exact: bool) -> dict[str, dict[str, Any]]:
        """Milliseconds of the peers and of each kind of question; candidates, certificates and recall of the latter."""
        engine = self.engine()
        asked = {kind: self.expressions(form) for kind, form in KINDS.items()}
        asks = {
            kind: lambda at, asked=expressions: engine.search(asked[at], Wanted(TOP, exact=exact))
            for kind, expressions in asked.items()
        }
        peers = self.peers(exact)
        rows = _milliseconds({**peers, **asks}, len(self.words))
        true = self.peers(exact=True)["plain search"]
        shares = [_shared(peers["plain search"](at), true(at)) for at in range(len(self.words))]
        rows["plain search"]["recall"] = float(np.mean(shares))
        for kind, expressions in asked.items():
            found = [engine.search(expression, Wanted(TOP, exact=exact)) for expression in expressions]
            candidates = [result.plan.candidates for result in found if result.plan]
            rows[kind] |= {
                "candidates": int(np.median(candidates)),
                "most": max(candidates),
                "certified": float(np.mean([result.certificate.kind != "none" for result in found])),
                "recall": float(
                    np.mean([self._recall(engine, *pair) for pair in zip(expressions, found, strict=True)])
                ),
            }
        return rows

    def _recall(self, engine: Searcher, expression: str, found: SearchResult) -> float:
        """Share of the true top 20 that was found; the tests compare exact answers with brute force."""
        true = {hit.id for hit in engine.search(expression, Wanted(TOP, exact=True, max_candidates=len(self.ids)))}
        return len(true & {hit.id for hit in found}) / TOP

    def flat_scan(self) -> dict[str, float]:
        """Milliseconds of a FAISS flat scan for one vector."""
        index = faiss.IndexFlatIP(DIM)
        index.add(self.drawn.rows)
        queries = [self.drawn.embed(words[:1]) for words in self.words]
        return _milliseconds({"": lambda at: index.search(queries[at], TOP)}, len(queries))[""]

    def counts(self) -> dict[str, dict[str, Any]]:
        """Milliseconds to count, exactly and approximately, and by a numpy scan of all vectors."""
        engine = self.engine()
        rows: dict[str, dict[str, Any]] = {}
        for kind, form in COUNTS.items():
            asked = self.expressions(form)
            counted = [engine.count(expression) for expression in asked]
            axes = [_axes(engine, words) for words in self.words]
            share = [count.plan.candidates / len(self.ids) for count in counted if count.plan]
            asks: dict[str, Callable[[int], Any]] = {
                f"{kind}, count": lambda at, asked=asked: engine.count(asked[at]),
                f"{kind}, estimate": lambda at, asked=asked: engine.count(asked[at], approximate=True),
                f"{kind}, numpy scan": lambda at, axes=axes: (self.drawn.rows @ axes[at].T > 0.1).sum(),
            }
            rows |= _milliseconds(asks, len(asked))
            rows[f"{kind}, count"] |= {
                "matches": int(np.median([count.count for count in counted])),
                "examined": float(np.median(share)),
            }
        return rows


def _axes(engine: Searcher, words: Sequence[str]) -> FloatArray:
    phrases = [Phrase(text=word) for word in words[:2]]
    return np.array([engine.directions.axis(phrase).direction for phrase in phrases], np.float32)


def _shared(found: Sequence[ScoredPoints], true: Sequence[ScoredPoints]) -> float:
    return len(set(found[0].ids) & set(true[0].ids)) / TOP


def _milliseconds(asks: dict[str, Callable[[int], Any]], times: int) -> dict[str, dict[str, Any]]:
    """Median and 95th percentile of each over as many questions, in turns, so that a busy moment hits all of them.

    Every question was asked before: texts are embedded, and nothing is read from the disk for the first time.
    """
    for at in range(times):
        for ask in asks.values():
            ask(at)
    taken: dict[str, list[float]] = {name: [] for name in asks}
    for at in range(times):
        for name, ask in asks.items():
            started = time.perf_counter()
            ask(at)
            taken[name].append(1000 * (time.perf_counter() - started))
    return {
        name: {"p50 ms": float(np.median(spent)), "p95 ms": float(np.quantile(spent, 0.95))}
        for name, spent in taken.items()
    }


def _tell(progress: str, figures: Any = None) -> None:
    told = "" if figures is None else " " + json.dumps(figures)
    print(f"{time.strftime('%H:%M:%S')} {progress}{told}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.query", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=POINTS, help="images in the collection")
    parser.add_argument("--quick", action="store_true", help="less of everything; the bars are shown, not judged")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    chosen = parser.parse_args()
    points = min(chosen.points, QUICK_POINTS) if chosen.quick else chosen.points
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < points * DISK_BYTES:
        parser.error(
            f"{points} points need {points * DISK_BYTES >> 20} MiB free in {tempfile.gettempdir()}, which has {free >> 20}: "
            "make room, or set TMPDIR to a folder of a larger disk"
        )
    _tell(f"drawing {points} points")
    drawn = Drawn(points)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder, "query")
        bench = Bench(drawn, store, QUICK_REPEATS if chosen.quick else REPEATS)
        bench.fill()
        _tell("searching by scan")
        exact = bench.searches(exact=True)
        _tell("exact", exact)
        exact["FAISS flat scan"] = bench.flat_scan()
        _tell("FAISS flat scan", exact["FAISS flat scan"])
        counted = bench.counts()
        _tell("counts", counted)
        store.close()
        _tell("building the index")
        started = time.perf_counter()
        build_index(folder, "query")
        indexing = time.perf_counter() - started
        _tell("index built, searching it")
        bench.store = open_store(folder, "query")
        indexed = bench.searches(exact=False)
        bench.store.close()
        _tell("indexed", indexed)
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    figures = {
        "points": points,
        "exact": exact,
        "indexed": indexed,
        "counts": counted,
        "index_seconds": indexing,
        "bytes_per_million_points": round(size / points * 1e6),
    }
    columns = ("p50 ms", "p95 ms", "candidates", "most", "certified", "recall")
    tables = [
        table(f"Top {TOP} of {points} images, every vector scanned", exact, columns),
        table(f"Top {TOP} of {points} images, indexed ({indexing:.0f} s)", indexed, columns),
        table("Counting", counted, ("p50 ms", "p95 ms", "matches", "examined")),
    ]
    name = "query" if chosen.points == POINTS else f"query-{points}"
    return finish(name, chosen, figures, tables, _bars(exact, indexed))


def _bars(exact: dict[str, dict[str, Any]], indexed: dict[str, dict[str, Any]]) -> list[Bar]:
    """Speed as plain searches that fit into the time of two literals, so that more is better."""
    return [
        _speed("exact", exact, EXACT_BAR),
        _speed("indexed", indexed, INDEXED_BAR),
        Bar("indexed two literals, share of the true top 20", indexed["2 literals"]["recall"], RECALL_BAR),
        Bar("certified, every kind", min(exact[kind]["certified"] for kind in KINDS), 0.95),
    ]


def _speed(mode: str, rows: dict[str, dict[str, Any]], most: float) -> Bar:
    ratio = rows["2 literals"]["p50 ms"] / rows["plain search"]["p50 ms"]
    return Bar(f"{mode} two literals, {ratio:.2f} times a plain search (at most {most}): room left", most / ratio, 1.0)


if __name__ == "__main__":
    sys.exit(main())
