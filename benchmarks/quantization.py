"""Quantisation of the embedded store: disk and memory for a million points, and recall@20 against exact search.

The same vectors are indexed as float32, int8 and 4 bits, each collection in a process of its own; the process that then
searches it tells what stays resident. The vectors decay along their principal directions as real CLIP vectors do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, get_args

import numpy as np

from t2c_search.query.execution.topk import LEAST_EF
from t2c_search.stores import build_index, open_store
from t2c_search.stores.protocol import CollectionSpec, Quantization
from t2c_search.types import CLIP, FloatArray, Points, VectorQuery

DIM, TOP, QUERIES, BATCH = 512, 20, 200, 1000
POINTS, QUICK_POINTS = 100_000, 6_000
_MILLION = 1_000_000
_CONE = 0.6
"""Length of the part that all vectors share: CLIP vectors fill a narrow cone."""


def vectors(start: int, count: int) -> FloatArray:
    """Return unit rows (count, DIM), the same for the same place in the collection."""
    rng = np.random.default_rng(start)
    rows = rng.standard_normal((count, DIM), np.float32) / np.sqrt(1 + np.arange(DIM, dtype=np.float32))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[:, 0] += _CONE
    unit: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def fill(location: str, quantization: Quantization, points: int) -> None:
    """Write the collection and build its graph."""
    store = open_store(location, "points")
    store.create(CollectionSpec({CLIP: DIM}, {}, quantization))
    for start in range(0, points, BATCH):
        rows = vectors(start, min(BATCH, points - start))
        ids = [str(uuid.UUID(int=start + at)) for at in range(len(rows))]
        store.upsert(Points(ids, [{} for _ in ids], {CLIP: rows}))
    store.close()
    build_index(location, "points")


def ask(location: str) -> dict[str, float]:
    """Search an existing collection; return recall@20, seconds a query and resident bytes, not those of an empty store."""
    empty = _resident()
    store = open_store(location, "points")
    queries = vectors(10**9, QUERIES)
    store.search([VectorQuery(queries[0], TOP, hnsw_ef=LEAST_EF)])
    began = time.perf_counter()
    found = [store.search([VectorQuery(row, TOP, hnsw_ef=LEAST_EF)])[0] for row in queries]
    seconds = (time.perf_counter() - began) / len(queries)
    resident = _resident() - empty  # before the exact searches, which read the whole vectors
    true = store.search([VectorQuery(row, TOP, exact=True) for row in queries])
    shares = [len(set(one.ids) & set(other.ids)) / TOP for one, other in zip(true, found, strict=True)]
    store.close()
    return {"recall": float(np.mean(shares)), "ms": 1000 * seconds, "resident": float(resident)}


def _resident() -> int:
    """Return the bytes of this process that are in memory, its mapped files included."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def measure(quantization: Quantization, points: int) -> dict[str, float]:
    """Fill a collection and search it, in a process of its own each."""
    with tempfile.TemporaryDirectory() as folder:
        for step in ("fill", "ask"):
            command = [
                sys.executable,
                "-m",
                "benchmarks.quantization",
                "--step",
                step,
                folder,
                quantization,
                str(points),
            ]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        disk = sum(path.stat().st_blocks * 512 for path in Path(folder).rglob("*") if path.is_file())
    measured: dict[str, float] = json.loads(answer)
    scale = _MILLION / points / (1 << 20)
    return {
        "disk MiB": disk * scale,
        "resident MiB": measured["resident"] * scale,
        f"recall@{TOP}": measured["recall"],
        "ms": measured["ms"],
    }


def main() -> int:
    """Measure, or carry out one step of it in a process that loads no model library."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--points", type=int)
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    own, others = parser.parse_known_args()
    if own.step:
        step, location, quantization, points = own.step
        if step == "fill":
            fill(location, quantization, int(points))
        else:
            print(json.dumps(ask(location)))
        return 0
    from benchmarks._common import Bar, finish, options, table

    sys.argv[1:] = others
    chosen = options("quantization", __doc__)
    points = own.points or (QUICK_POINTS if chosen.quick else POINTS)
    rows: dict[str, dict[str, Any]] = {name: measure(name, points) for name in get_args(Quantization)}
    columns = list(rows["none"])
    title = f"{points} points of {DIM} numbers; sizes for a million"
    bars = [Bar(f"recall@{TOP} of {name}", rows[name][f"recall@{TOP}"], 0.95) for name in rows]
    return finish("quantization", chosen, {"points": points, "rows": rows}, [table(title, rows, columns)], bars)


if __name__ == "__main__":
    sys.exit(main())
