"""Opening the engine's files in a process of its own, where they may be its death.

The engine answers damaged files by a panic, or by a signal when a mapped file is cut, and a full disk by a signal too: that
cannot be caught.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import qdrant_edge as edge

from t2c_search import child
from t2c_search.stores.edge.disk_space import full_disk, is_short_of_room
from t2c_search.stores.edge.errors import damaged, mapped_errors
from t2c_search.stores.edge.shard import count_points, load_shard

_BATCH = 1000
_NOBODY_HAS = "no-image-has-this-field"


def try_opening(shard: Path, location: str, collection: str, vectors: Sequence[str]) -> None:
    """Open a shard in a child process, and compare what it counts, lists and finds by each of these vectors.

    Raises CollectionDamagedError where that differs, or is the child's death; StoreFullError where the disk may be why.
    """
    try:
        numbers: dict[str, int] = child.call(count_in_each_way, str(shard), location, collection, *vectors)
    except child.NoAnswerError as exc:
        if exc.code < 0 and is_short_of_room(shard):
            raise full_disk(location, ": the collection cannot be opened without more of it") from exc
        raise damaged(location, collection, f"the engine dies of opening its points ({exc})") from exc
    if len(set(numbers.values())) > 1:
        found = ", ".join(f"{number} {what}" for what, number in numbers.items())
        raise damaged(location, collection, f"of its images, {found}")


def count_in_each_way(shard: str, location: str, collection: str, *vectors: str) -> dict[str, int]:
    """Return, in this process, how many points there are, by several ways that agree when nothing is damaged."""
    with mapped_errors(location, collection, opening=True):
        opened = load_shard(Path(shard))
        numbers = _examine(opened, vectors)
        opened.close()
    return numbers


def _examine(shard: edge.EdgeShard, vectors: Sequence[str]) -> dict[str, int]:
    """Return how many points there are, in several ways that agree when nothing is damaged."""
    empty = edge.Filter(must=[edge.IsEmptyCondition(_NOBODY_HAS)])  # reads every payload
    found = {"are counted": count_points(shard)}
    found["have a payload"] = shard.count(edge.CountRequest(exact=True, filter=empty))
    found |= {"are listed": 0} | {f"are found by the vector {name!r}": 0 for name in vectors}
    offset = None
    while True:
        records, offset = shard.scroll(edge.ScrollRequest(offset=offset, limit=_BATCH, with_payload=False))
        found["are listed"] += len(records)
        for name in vectors if records else ():
            found[f"are found by the vector {name!r}"] += _count_found(shard, [each.id for each in records], name)
        if offset is None:
            return found


def _count_found(shard: edge.EdgeShard, ids: Sequence[edge.PointId], name: str) -> int:
    """Return how many of some points a search by the first one's vector finds."""
    vectors = shard.retrieve([ids[0]], False, [name])[0].vector
    if not isinstance(vectors, dict) or name not in vectors:
        return 0
    request = edge.QueryRequest(
        limit=len(ids),
        query=edge.Query.Nearest(vectors[name], using=name),
        filter=edge.Filter(must=[edge.HasIdCondition(set(ids))]),
        params=edge.SearchParams(exact=True),
    )
    return len(shard.query(request))
