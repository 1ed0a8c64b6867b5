"""Keep a collection in line with folders under watch, and leave its store to other processes in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Event

from t2c_search.errors import StoreLockedError
from t2c_search.indexing.report import IndexReport
from t2c_search.indexing.watch import watch
from t2c_search.sources.presence import is_gone
from t2c_search.stores.protocol import VectorStore

_LOCKED_SECONDS = 1.0  # between two tries while another process has the store open


def index_changes(
    folders: Iterable[str | Path],
    index: Callable[[Sequence[str], Sequence[str]], IndexReport],
    *,
    store: VectorStore,
    stop: Event,
    exclude: Sequence[str] = (),
) -> Iterator[IndexReport]:
    """Watch folders from this call on; the iterator calls ``index`` with the paths to index and those that are gone.

    It yields a report for each batch of changes, until ``stop`` is set. Raises UsageError for what cannot be watched.
    """
    batches = watch(folders, stop, exclude)

    def reports() -> Iterator[IndexReport]:
        store.release()
        for changes in batches:
            while not stop.is_set():
                try:
                    report = index([path for path in changes.touched if not is_gone(path)], changes.gone)
                except StoreLockedError:  # a search in another process, as a rule
                    stop.wait(_LOCKED_SECONDS)
                else:
                    store.release()
                    if report.seen or report.deleted:
                        yield report
                    break

    return reports()
