"""A backbone's vectors to points: projected into CLIP space, on the host."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from t2c_search.attribution.stored import encode
from t2c_search.decoding.metadata import EXPLAINED
from t2c_search.indexing.embedding import EmbeddedBatch
from t2c_search.profile import EMBED, StageClock
from t2c_search.types import CLIP, FACTORS, NATIVE, Failure, Points

if TYPE_CHECKING:
    import torch

    Projection = Callable[[torch.Tensor], torch.Tensor]

_UNIT = 0.1  # how far the length of a row may be from 1, at half precision
_NOT_FINITE = "the model gave it a vector that is not finite: try --dtype float32"
_NO_DIRECTION = "the model gave it a vector of zeros, or one too long to have a direction"


def align(
    batches: Iterable[EmbeddedBatch], projection: Projection, keep_native: bool, clock: StageClock
) -> Iterator[tuple[Points, list[Failure]]]:
    """Project batches of one encoder's rows to unit rows of CLIP space: the points of each, and what cannot be one.

    Factors that come with the rows are projected and encoded with them.

    A GPU is given the next batch before this thread waits for what it made of the last one.
    """
    under_way: deque[tuple[Points, torch.cuda.Event | None]] = deque()
    for batch in batches:
        with clock.measure(EMBED):
            under_way.append(_project(batch, projection, keep_native))
        while under_way and (len(under_way) > 1 or _is_there(under_way[0][1])):
            yield _usable(*under_way.popleft(), clock)
    while under_way:
        yield _usable(*under_way.popleft(), clock)


def _project(batch: EmbeddedBatch, projection: Projection, keep_native: bool) -> tuple[Points, torch.cuda.Event | None]:
    """Return points whose vectors are on their way to the host, and the GPU's event behind the copying."""
    import torch

    from t2c_search.alignment.aligner import Aligner

    (native,) = batch.vectors
    codes, payloads = {}, batch.payloads
    if batch.factors is not None:
        codes = {
            FACTORS: encode(batch.factors, projection if isinstance(projection, Aligner) else None, native=keep_native)
        }
        payloads = [{**payload, EXPLAINED: batch.factors.method} for payload in payloads]
    rows = {CLIP: projection(native)} | ({NATIVE: native} if keep_native else {})
    on_cuda = native.device.type == "cuda"
    vectors = {name: tensor.float().to("cpu", non_blocking=on_cuda).numpy() for name, tensor in rows.items()}
    points = Points(batch.ids, payloads, vectors, multivectors=codes)
    return points, torch.cuda.current_stream().record_event() if on_cuda else None


def _is_there(copied: torch.cuda.Event | None) -> bool:
    return copied is None or bool(copied.query())  # type: ignore[no-untyped-call]


def _usable(points: Points, copied: torch.cuda.Event | None, clock: StageClock) -> tuple[Points, list[Failure]]:
    """Return those of the points that can be found again: half precision overflows on some images, and a row of zeros, or
    one whose length overflows, has no direction."""
    with clock.measure(EMBED):
        if copied is not None:
            copied.synchronize()
        finite = np.logical_and.reduce([np.isfinite(rows).all(axis=1) for rows in points.vectors.values()])
        unit = np.abs(np.linalg.norm(points.vectors[CLIP], axis=1) - 1) < _UNIT
    usable = finite & unit
    if usable.all():
        return points, []
    failures = [
        Failure(points.payloads[row]["path"], _NO_DIRECTION if finite[row] else _NOT_FINITE)
        for row in np.flatnonzero(~usable)
    ]
    return points.take(np.flatnonzero(usable).tolist()), failures
