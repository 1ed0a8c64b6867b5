"""What the embedded engine and the file system raise, as the errors of this package."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from t2c_search.errors import CollectionDamagedError, StoreAccessError, StoreError, StoreLockedError, T2CError
from t2c_search.stores.edge.disk_space import full_disk

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_PANIC = "PanicException"  # no Exception, and in no module that could be imported


@contextmanager
def mapped_errors(location: str, collection: str, *, opening: bool = False) -> Iterator[None]:
    """Raise what goes wrong in the block, which may be the opening, as a kind of StoreError; bugs of ours stay what they are."""
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
        raise engine_error(str(exc), location, collection, opening=opening) from exc
    except BaseException as exc:
        if type(exc).__name__ != _PANIC:
            raise
        raise damaged(location, collection, f"the engine cannot go on: {exc}") from exc


def closed(location: str, collection: str) -> StoreError:
    """Return the error for a store that is used after its end."""
    return StoreError(f"collection {collection!r} in {location} was closed; open it again")


def _refused(location: str, reason: str) -> StoreAccessError:
    return StoreAccessError(
        f"store {location} cannot be used: {reason}. The embedded engine writes to its files even for searching: give "
        "this user write access to the folder and all below it, or copy it to a place of its own and search there"
    )


def damaged(location: str, collection: str, what: str) -> CollectionDamagedError:
    """Return the error for a collection of which something is lost or altered."""
    return CollectionDamagedError(
        f"collection {collection!r} in {location} is damaged: {what}. Restore its folder {collection!r} from a backup; "
        f"without one, delete it (t2c delete {collection} --store {location}) and index the images again, which are unharmed"
    )


def engine_error(message: str, location: str, collection: str, *, opening: bool = False) -> StoreError:
    """Return the error for what the engine says; what it cannot open, for no reason of those known, is damaged."""
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
    if opening:
        return damaged(location, collection, f"the engine cannot open its points: {message}")
    return StoreError(f"collection {collection!r} in {location}: {message}")
