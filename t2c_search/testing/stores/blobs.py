"""Blobs beside the points."""

# ruff: noqa: D102  (the tests' names say what they are for)

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from t2c_search.errors import UsageError
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
