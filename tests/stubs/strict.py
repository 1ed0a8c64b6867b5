"""What a server in strict mode refuses, and in all modes answers otherwise than the in-memory engine does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qdrant_client import models

_RANGES = {"integer", "float"}


class Strict:
    """Raises ValueError, as a server answers 400, for what a configuration does not allow (None: everything)."""

    def __init__(self, config: models.StrictModeConfig | None = None) -> None:
        self.config = config or models.StrictModeConfig()
        self.enabled = config is not None

    def reading(
        self, indexes: Mapping[str, str], where: Any, *, limit: int | None = None, exact: bool | None = False
    ) -> None:
        """Check a scroll, a count or a count of values."""
        self._below("limit", limit, self.config.max_query_limit)
        self.filtering(indexes, where, self.config.unindexed_filtering_retrieve)
        self._exact(exact)

    def searching(self, indexes: Mapping[str, str], searches: list[models.QueryRequest], vectors: Any) -> None:
        """Check searches of one request."""
        self._below("search batch size", len(searches), self.config.search_max_batchsize)
        for search in searches:
            self._search(indexes, search, vectors)

    def writing(self, points: int) -> None:
        """Check how many points are written."""
        self._below("upsert limit", points, self.config.upsert_max_batchsize)

    def indexing(self, indexes: Mapping[str, str]) -> None:
        """Check that there may be one more index."""
        self._below("payload indexes", len(indexes) + 1, self.config.max_payload_index_count)

    def filtering(self, indexes: Mapping[str, str], where: Any, unindexed: bool | None) -> None:
        """Check a filter; in any mode words are looked for by an index alone, as versions differ without one."""
        conditions = list(_conditions(where))
        for condition in conditions:
            kinds = _fitting(condition)
            if kinds == {"text"} and indexes.get(condition.key) != "text":
                raise ValueError(f"the stub answers no words without an index of {condition.key!r}")
            if self.enabled and unindexed is False and kinds and indexes.get(condition.key) not in kinds:
                raise ValueError(f'Index required but not found for "{condition.key}" of one of: {sorted(kinds)}')
            self._below("condition size", _size(condition), self.config.condition_max_size)
        self._below("filter conditions", len(conditions), self.config.filter_max_conditions)

    def _search(self, indexes: Mapping[str, str], search: Any, vectors: Any) -> None:
        stages = search.prefetch or []
        stages = stages if isinstance(stages, list) else [stages]
        for stage in stages:
            self._search(indexes, stage, vectors)
        self.reading(indexes, search.filter, limit=search.limit)
        graph = getattr(dict(vectors).get(search.using), "hnsw_config", None) if search.using else None
        if (
            self.enabled
            and self.config.search_allow_exact is False
            and graph is not None
            and graph.m == 0
            and not stages
        ):
            raise ValueError("Request is forbidden because global vector indexing is disabled (hnsw_config.m = 0)")
        if (params := search.params) is not None:
            self._exact(params.exact)
            self._below("hnsw_ef", params.hnsw_ef, self.config.search_max_hnsw_ef)
            if params.quantization is not None:
                self._below("oversampling", params.quantization.oversampling, self.config.search_max_oversampling)

    def _exact(self, exact: bool | None) -> None:
        if self.enabled and exact and self.config.search_allow_exact is False:
            raise ValueError("Exact search disabled! Help: Set exact=false.")

    def _below(self, name: str, value: float | None, most: float | None) -> None:
        if self.enabled and value is not None and most is not None and value > most:
            raise ValueError(f'Limit exceeded {value} > {most} for "{name}"')


def _conditions(where: Any) -> Iterator[Any]:
    if isinstance(where, list):
        for each in where:
            yield from _conditions(each)
    elif isinstance(where, models.Filter):
        for part in (where.must, where.should, where.must_not):
            yield from _conditions(part if part is None or isinstance(part, list) else [part])
    elif where is not None:
        yield where


def _fitting(condition: Any) -> set[str]:
    """Name the kinds of indexes of which one is needed; none for a condition on ids."""
    if not isinstance(condition, models.FieldCondition):
        return set()
    match = condition.match
    if isinstance(match, models.MatchText):
        return {"text"}
    if isinstance(match, models.MatchValue | models.MatchAny):
        value = match.value if isinstance(match, models.MatchValue) else match.any[0]
        return {"bool"} if isinstance(value, bool) else {"keyword"} if isinstance(value, str) else {"integer"}
    if isinstance(condition.range, models.DatetimeRange):
        return {"datetime"}
    if condition.range is not None:
        return _RANGES
    if condition.geo_radius is not None:
        return {"geo"}
    return {"keyword", "integer", "float", "bool", "datetime", "text", "geo"}


def _size(condition: Any) -> int:
    if isinstance(condition, models.HasIdCondition):
        return len(condition.has_id)
    match = getattr(condition, "match", None)
    return len(match.any) if isinstance(match, models.MatchAny) else 0
