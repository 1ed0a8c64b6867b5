"""Blobs beside the points."""

# ruff: noqa: D102  (the tests' names say what they are for)

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from t2c_search.errors import UsageError
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore
from t2c_search.testing.stores.fixtures import StorePlaces


class BlobContract(StorePlaces):
    """Whole blobs under short keys."""

    def test_blobs_keep_their_bytes(self, empty: VectorStore) -> None:
        assert empty.read_blob("card") is None
        large = np.random.default_rng(0).bytes(3_000_000)
        for content in (b"{}", large, b"", b"\x00\xff" * 7):
            empty.write_blob("card", content)
            empty.write_blob("aligner-2", content[::-1])
            assert empty.read_blob("card") == content
            assert empty.read_blob("aligner-2") == content[::-1]
        assert empty.count() == 0  # blobs are no points

    @pytest.mark.parametrize("key", ["", "../card", "Card", "a/b", ".hidden"])
    def test_blob_keys_are_checked(self, empty: VectorStore, key: str) -> None:
        with pytest.raises(UsageError, match="blob key"):
            empty.write_blob(key, b"x")
        with pytest.raises(UsageError, match="blob key"):
            empty.read_blob(key)

    def test_a_blob_is_never_read_half_written(self, empty: VectorStore) -> None:
        contents = [bytes([number]) * 1_500_000 for number in range(6)]
        empty.write_blob("card", contents[0])
        done = threading.Event()
        torn: list[int] = []

        def read() -> int:
            reads = 0
            while not done.is_set() or reads == 0:
                content = empty.read_blob("card")
                if content not in contents:
                    torn.append(reads)
                reads += 1
            return reads

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                for content in contents:
                    empty.write_blob("card", content)
            finally:
                done.set()
            assert all(reader.result() > 0 for reader in readers)
        assert torn == []

    def test_blobs_are_read_as_they_were_at_one_moment(self, empty: VectorStore) -> None:
        before = empty.header()
        assert empty.read_blobs(["card", "fields"])[1] == {}
        empty.write_blob("card", b"1")
        empty.write_blob("fields", b"2")
        header, found = empty.read_blobs(["card", "fields", "absent"])
        assert found == {"card": b"1", "fields": b"2"}
        assert header == empty.header()
        assert header.version != before.version
        view = empty.pinned(header)
        empty.write_blob("card", b"3")
        assert view.read_blobs(["card"])[1] == {"card": b"1"}
        assert empty.read_blob("card") == b"3"

    def test_an_update_that_changes_nothing_writes_nothing(self, empty: VectorStore) -> None:
        empty.write_blob("card", b"1")
        before = empty.header()
        assert empty.update_blob("card", lambda former: former or b"") == b"1"
        assert empty.header() == before

    def test_no_update_of_several_threads_and_handles_is_lost(self, empty: VectorStore) -> None:
        handles = [empty]
        if empty.capabilities.persistent:
            handles.append(open_store(empty.location, "contract"))

        def add(number: int) -> None:
            key = f"list-{number % 2}"
            handles[number % len(handles)].update_blob(key, lambda former: (former or b"") + bytes([number]))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add, range(40)))
        contents = [empty.read_blob(f"list-{part}") or b"" for part in (0, 1)]
        assert sorted(b"".join(contents)) == list(range(40))
        for handle in handles[1:]:
            handle.close()

    def test_an_update_is_made_anew_of_what_another_wrote_within_it(self, empty: VectorStore) -> None:
        seen: list[bytes | None] = []

        def function(former: bytes | None) -> bytes:
            if not seen:
                empty.write_blob("card", b"other")
            seen.append(former)
            return (former or b"") + b"+mine"

        assert empty.update_blob("card", function) == b"other+mine"
        assert seen == [None, b"other"]
        assert empty.read_blob("card") == b"other+mine"
