"""Index a folder into an embedded store and tell how much of it the store holds; the tests kill this process."""

import sys

from support import index

from t2c_search.indexing.sources import list_images
from t2c_search.stores import open_store
from t2c_search.types import Failure


class TellsTheCount:
    def start(self, total: int | None, stage: str) -> None: ...

    def advance(self, images: int) -> None:
        print(store.count(), flush=True)

    def fail(self, failure: Failure) -> None: ...


if __name__ == "__main__":
    location, folder = sys.argv[1:]
    store = open_store(location, "photos")
    index(list_images([folder]), store, batch_size=4, progress=TellsTheCount())
    print(store.count(), flush=True)
    sys.stdin.read()  # wait for the signal, however late it comes
