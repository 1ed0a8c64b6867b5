"""What a backup of a server must hold: the collections that ``physical_names`` tells, restored under any name."""

from __future__ import annotations

import json

from t2c_search.stores import list_collections, open_store
from t2c_search.testing.points import COUNT, SPEC, make_points
from t2c_search.types import CLIP
from tests.stubs.rest import QdrantStub


def test_the_named_collections_are_a_working_copy_under_another_name() -> None:
    with QdrantStub() as server, QdrantStub() as other:
        store = open_store(server.url, "photos")
        store.create(SPEC)
        with store.replacement(SPEC) as aside:
            aside.upsert(make_points())
        store.write_blob("statistics", b"of these points")
        for name in store.physical_names():
            other.load(_renamed(server.dump(), name))
        copy = open_store(other.url, "holidays")
        assert list_collections(other.url) == ["holidays"]
        assert copy.count() == COUNT and copy.read_blob("statistics") == b"of these points"
        assert copy.fetch(make_points(1).ids, vectors=(CLIP,)).payloads == make_points(1).payloads
        store.close()
        copy.close()


def _renamed(dump: str, name: str) -> str:
    """Return one collection of a dump, with ``holidays`` in place of ``photos``."""
    kept, wanted = [], False
    for line in map(json.loads, dump.splitlines()):
        if "collection" in line:
            wanted = line["collection"] == name
            line["collection"] = name.replace("photos", "holidays")
        kept += [json.dumps(line)] if wanted else []
    return "\n".join(kept)
