"""Building the embedded engine's search index, in a process of its own.

The engine's ``optimize`` holds the interpreter's lock for as long as it runs, minutes on large collections: in the
caller's process it would stop every thread. ``python -m t2c_search.stores.edge.optimize LOCATION COLLECTION`` is that other
process; ``build_index`` starts it and waits.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from t2c_search import errors
from t2c_search.errors import StoreError, T2CError
from t2c_search.stores.edge.store import EdgeStore

_POLL_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def build_index(location: str, collection: str, on_progress: Callable[[float], None] | None = None) -> None:
    """Run ``EdgeStore.optimize`` in a child process; see ``t2c_search.stores.build_index``."""
    child = subprocess.Popen(
        [sys.executable, "-m", __name__, location, collection],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    began = time.monotonic()
    try:
        while child.poll() is None:
            if on_progress is not None:
                on_progress(time.monotonic() - began)
            try:
                child.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        answer, _ = child.communicate()
    finally:
        child.kill()
        child.wait()
    _check(child.returncode, answer, collection)


def _check(code: int, answer: str, collection: str) -> None:
    if code == 0:
        return
    if answer:
        failure = json.loads(answer)
        kind: type[T2CError] = getattr(errors, failure["kind"])
        raise kind(failure["message"])
    raise StoreError(
        f"building the index of {collection!r} ended with exit code {code} (a negative one is a signal: -9 is most "
        "often too little memory). The collection is whole, and searched without the missing part; try again"
    )


def main() -> int:
    """Build the index of the collection that the command line names; tell a failure as JSON on standard output."""
    if sys.platform == "linux":  # a killed indexer must not leave its collection locked for minutes
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    location, collection = sys.argv[1:]
    store = EdgeStore(location, collection)
    try:
        store.optimize()
        store.close()
    except T2CError as exc:
        print(json.dumps({"kind": type(exc).__name__, "message": str(exc)}))  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
