"""What the embedded engine and the file system raise, as the errors of this package."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from t2c_search.errors import StoreAccessError, StoreError, StoreLockedError, T2CError
from t2c_search.stores.edge.disk_space import full_disk

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def mapped_errors(location: str, collection: str) -> Iterator[None]:
    """Raise what goes wrong in the block as a kind of StoreError; bugs of ours stay what they are."""
    try:
        yield
    except T2CError:
        raise
    except OSError as exc:
        if exc.errno in _FULL:
            raise full_disk(location) from exc
        if exc.errno in _REFUSED:
            raise _refused(location, str(exc)) from exc
        raise StoreError(f"store {location} cannot be used: {exc}") from exc
    except Exception as exc:
        if type(exc) is not Exception:  # the engine raises nothing more specific; anything else is a bug of ours
            raise
        raise _engine_error(str(exc), location, collection) from exc


def closed(location: str, collection: str) -> StoreError:
    """Return the error for a store that is used after its end."""
    return StoreError(f"collection {collection!r} in {location} was closed; open it again")


def _refused(location: str, reason: str) -> StoreAccessError:
    return StoreAccessError(
        f"store {location} cannot be used: {reason}. The embedded engine writes to its files even for searching: give "
        "this user write access to the folder and all below it, or copy it to a place of its own and search there"
    )


def _engine_error(message: str, location: str, collection: str) -> StoreError:
    if "WouldBlock" in message:
        return StoreLockedError(
            f"collection {collection!r} in {location} is open in another process, or twice in this one; "
            "wait for it or stop it. For several at once use a Qdrant server: --store http://..."
        )
    if "No space left" in message:
        return full_disk(location)
    if any(f"(os error {code})" in message for code in _REFUSED):
        return _refused(location, message)
    if "not initialized" in message:
        return closed(location, collection)
    return StoreError(f"collection {collection!r} in {location}: {message}")
