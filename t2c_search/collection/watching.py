"""Keep a collection in line with folders under watch, and leave its store to other processes in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from threading import Event
from typing import TypeVar

from t2c_search.errors import StoreLockedError, StoreTimeoutError, StoreUnavailableError
from t2c_search.indexing.report import IndexReport
from t2c_search.indexing.watch import Changes
from t2c_search.sources.presence import is_gone
from t2c_search.stores.protocol import VectorStore

T = TypeVar("T")
_LOCKED_SECONDS = 1.0  # between two tries while another process has the store open
_AWAY_SECONDS = 5.0  # between two tries while a server does not answer; each of them goes on for a minute by itself


def index_changes(
    batches: Iterable[Changes],
    index: Callable[[Sequence[str], Sequence[str]], IndexReport],
    *,
    store: VectorStore,
    stop: Event,
    tell: Callable[[str], None],
) -> Iterator[IndexReport]:
    """Call ``index`` with the paths to index and those that are gone, of each batch of changes.

    The iterator yields a report for each, until ``stop`` is set; ``tell`` is told how long the store is away.
    """
    outlast(store.release, stop, tell)
    for changes in batches:

        def take_up(touched: Sequence[str] = changes.touched, gone: Sequence[str] = changes.gone) -> IndexReport:
            report = index([path for path in touched if not is_gone(path)], gone)
            store.release()
            return report

        report = outlast(take_up, stop, tell)
        if report is not None and (report.seen or report.deleted):
            yield report


def outlast(work: Callable[[], T], stop: Event, tell: Callable[[str], None], *, while_locked: bool = True) -> T | None:
    """Return what comes of the work, begun again for as long as its store is away or locked; None once ``stop`` is set.

    ``tell`` is told, once each, since when the store is away, that it is back, and that the work was given up. A lock is not
    waited for with ``while_locked`` False: StoreLockedError is passed on, as a first run passes it on.
    """
    failed = False
    away: float | None = None  # since when, on the clock that never jumps
    while not stop.is_set():
        began, by_the_clock = time.monotonic(), datetime.now()
        try:
            done = work()
        except StoreLockedError:  # a search in another process, as a rule
            if not while_locked:
                raise
            failed = True
            stop.wait(_LOCKED_SECONDS)
        except (StoreUnavailableError, StoreTimeoutError) as exc:
            failed = True
            if away is None:
                away = began
                tell(
                    f"the store is away since {by_the_clock:%Y-%m-%d %H:%M:%S}: {exc} What changes meanwhile is indexed "
                    "when it answers"
                )
            stop.wait(_AWAY_SECONDS)
        else:
            if away is not None:
                tell(f"the store answers again, after {time.monotonic() - away:.0f} s")
            return done
    if failed:
        tell("the last changes are not indexed, as the store could not be used: t2c index takes them up")
    return None
