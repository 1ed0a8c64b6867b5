"""How much goes into one request to a server, and how much comes in one answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np

from t2c_search.errors import StoreLimitError
from t2c_search.stores.columns import payload_sizes, vector_sizes
from t2c_search.stores.protocol import CollectionSpec, Limits
from t2c_search.types import Points, ScoredPoints, VectorQuery

RESPONSE_BYTES = 16 << 20
"""Size of one answer with vectors; larger ones are asked for in parts."""
_FLOAT_BYTES = 20  # one float32 as JSON, at most
_PAYLOAD_BYTES = 1 << 10  # one payload, as a rule
_ROWS = 256  # of one multivector, as a rule at most: 16 x 16 patches of an image
_Item = TypeVar("_Item")


def _point_bytes(vectors: Sequence[str], spec: CollectionSpec) -> int:
    """About how many bytes one point with a payload takes in an answer."""
    numbers = sum(spec.vectors[name].dim * (_ROWS if spec.vectors[name].multi else 1) for name in vectors)
    return _PAYLOAD_BYTES + _FLOAT_BYTES * numbers


def fits_one_answer(queries: Sequence[VectorQuery], spec: CollectionSpec) -> bool:
    """Tell whether one answer may hold what several searches find."""
    return sum(query.limit * _point_bytes(query.with_vectors, spec) for query in queries) <= RESPONSE_BYTES


def answer_points(vectors: Sequence[str], spec: CollectionSpec) -> int:
    """How many points with these vectors go into one answer."""
    return max(1, RESPONSE_BYTES // _point_bytes(vectors, spec))


def pages(query: VectorQuery, limits: Limits) -> Iterator[VectorQuery]:
    """Cut a search into those that a server allows. Raises StoreLimitError for an exact one where it allows none."""
    stage: VectorQuery | None = query
    while stage is not None:
        if stage.exact and not limits.exact:
            raise StoreLimitError("the server allows no exact search (search_allow_exact of its strict mode)")
        if stage is not query and limits.answers is not None and stage.limit > limits.answers:
            raise StoreLimitError(
                f"the server allows {limits.answers} candidates for a search among them (max_query_limit of its strict "
                f"mode), not {stage.limit}"
            )
        stage = stage.among
    size = limits.answers or query.limit
    for start in range(0, query.limit, size):
        yield replace(query, limit=min(size, query.limit - start), offset=query.offset + start)


def joined_pages(answers: Sequence[ScoredPoints]) -> ScoredPoints:
    """Put the pages of one search together."""
    if len(answers) == 1:
        return answers[0]
    points = Points.joined(answers)
    scores = np.concatenate([answer.scores for answer in answers])
    return ScoredPoints(points.ids, points.payloads, points.vectors, scores, multivectors=points.multivectors)


def upload_sizes(points: Points) -> list[int]:
    """About how many bytes each point takes in a request."""
    payloads = payload_sizes(points.ids, points.payloads) if points.payloads else [0] * len(points)
    return [_FLOAT_BYTES * numbers + size for numbers, size in zip(vector_sizes(points), payloads, strict=True)]


def in_order(ids: Sequence[str], answers: Sequence[Points]) -> Points:
    """Put the found points, which came in parts and in any order, into the order of ``ids``."""
    found = Points.joined(answers)
    row_of = {point_id: row for row, point_id in enumerate(found.ids)}
    return found.take([row_of[point_id] for point_id in ids if point_id in row_of])


def in_parts(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Cut items into lists of at most this size."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
