"""Where bytes lie: local files, http(s) addresses, and whatever file system fsspec knows, such as ``s3://``.

An address is an absolute posix path, or ``scheme://`` and more. Nothing here opens a remote one unless it is asked for
by name. All functions may be called from several threads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from stat import S_ISDIR
from typing import Any, BinaryIO, cast
from urllib.parse import unquote_to_bytes

from t2c_search.decoding.files import MAX_BYTES, check_size, open_local, read_file
from t2c_search.errors import ImageError, T2CError, UsageError
from t2c_search.sources.private import check_container

UNKNOWN_SIZE = -1
"""Size of what would have to be read, or fetched, to know it."""
INT64 = range(-(2**63), 2**63)
"""Integers that stores can hold."""
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: C:// is a drive
_FILE = "file://"  # addresses of local files, percent-encoded
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")  # as file systems call it


@dataclass(frozen=True, slots=True)
class Stat:
    """Size in bytes (or ``UNKNOWN_SIZE``) and time of change in ns, 0 where the file system does not tell."""

    size: int
    mtime_ns: int
    is_folder: bool = False


def is_remote(address: str) -> bool:
    """Tell ``s3://bucket/a.jpg`` from a local path."""
    return bool(_REMOTE.match(address)) and not address.startswith(_FILE)


def is_http(address: str) -> bool:
    """Tell web addresses, which have no folders, from other remote ones."""
    return address.lower().startswith(("http://", "https://"))


def tidied(source: str) -> str:
    """Return an address with its scheme in lower case and no blanks around it; what is none as it is."""
    found = _REMOTE.match(address := source.strip())
    return found[0].lower() + address[found.end() :] if found else source


def absolute(source: str, folder: str | None = None) -> str:
    """Return the address of what a user or a manifest in ``folder`` (default: the current one) names.

    ``~`` is a home folder where a user writes it and there is such a user; else it is the beginning of a name.
    Raises UsageError when a remote file system is unknown or its package is missing.
    """
    source = tidied(source)
    if is_http(source):
        return source
    if is_remote(source):
        system, path = file_system(source)
        return str(system.unstrip_protocol(path))
    if folder is not None and is_remote(folder):
        return f"{folder.rstrip('/')}/{source}"
    if source.startswith(_FILE):
        source = os.fsdecode(unquote_to_bytes(os.fsencode(source.removeprefix(_FILE))))
    if folder is None:
        source = os.path.expanduser(source)  # noqa: PTH111 - Path.expanduser raises for an unknown user
    return Path(os.path.abspath(Path(folder or "", source))).as_posix()  # noqa: PTH100 - absolute() would keep ".."


def file_system(address: str) -> tuple[Any, str]:
    """Return fsspec's file system for a remote address, and the path in it. Raises UsageError as ``absolute`` does, and
    ImageError where the address is refused (``private_addresses``)."""
    import fsspec

    check_container(address)
    scheme = address.partition("://")[0]
    try:
        return cast("tuple[Any, str]", fsspec.core.url_to_fs(address))
    except ImportError as exc:
        package = getattr(exc.__cause__, "name", None) or scheme
        raise UsageError(f"{scheme}:// addresses need a package that is not installed: pip install {package}") from exc
    except ValueError as exc:
        raise UsageError(f"no file system is known as {scheme}://: {exc}") from exc
    except Exception as exc:  # each file system has errors of its own, for missing credentials above all
        raise UsageError(f"{scheme}:// cannot be opened: {_said(exc)}") from exc


def stat(address: str) -> Stat | None:
    """Look at a file or folder; None when there is none, or when it cannot be looked at."""
    if is_http(address):
        return Stat(UNKNOWN_SIZE, 0)
    try:
        if is_remote(address):
            system, path = file_system(address)
            return _remote_stat(system.info(path))
        found = Path(address).stat()
    except T2CError:
        raise
    except Exception:  # OSError, and whatever file systems raise instead of it
        return None
    return Stat(found.st_size, storable(found.st_mtime_ns), S_ISDIR(found.st_mode))


def find(address: str) -> dict[str, Stat]:
    """Return all files below a remote folder, by address, in order of name. Raises UsageError when it cannot be read."""
    system, path = file_system(address)
    try:
        found = system.find(path, detail=True)
    except Exception as exc:
        raise UsageError(f"the folder cannot be read: {_said(exc)}") from exc
    return {str(system.unstrip_protocol(name)): _remote_stat(entry) for name, entry in sorted(found.items())}


def glob_remote(pattern: str) -> list[str]:
    """Return the remote addresses that match, in order of name. Raises UsageError when the place cannot be read."""
    system, path = file_system(pattern)
    try:
        return [str(system.unstrip_protocol(name)) for name in sorted(system.glob(path))]
    except Exception as exc:
        raise UsageError(f"{pattern!r} cannot be looked up: {_said(exc)}") from exc


def version(address: str) -> Stat | None:
    """Return what tells one state of a local file from the next; None for remote ones: asking would cost a request."""
    return None if is_remote(address) else stat(address)


def open_binary(address: str) -> BinaryIO:
    """Open a file for reading, with random access. Raises what its file system raises: use within ``said_of``."""
    if not is_remote(address):
        return open_local(address)
    system, path = file_system(address)
    return cast("BinaryIO", system.open(path, "rb"))


def read_range(address: str, start: int, size: int) -> bytes:
    """Return ``size`` bytes, or fewer at the file's end. Raises as ``open_binary`` does."""
    if is_remote(address):
        system, path = file_system(address)
        return bytes(system.cat_file(path, start=start, end=start + size))
    with open_local(address) as file:
        file.seek(start)
        return file.read(size)


def read_whole(address: str) -> bytes:
    """Return a file's bytes. Raises ImageError when it cannot be read, is empty or is larger than ``MAX_BYTES``."""
    if is_http(address):
        from t2c_search.sources.web import fetch  # with httpx, which most runs never need

        content = fetch(address)
    elif is_remote(address):
        with said_of("the file", ImageError):
            content = read_range(address, 0, MAX_BYTES + 1)
    else:
        return read_file(address)
    check_size(len(content))
    return content


def read_several(addresses: list[str]) -> dict[str, bytes]:
    """Return the bytes of remote files of one file system, fetched together; those that cannot be read are absent."""
    if not addresses:
        return {}
    system, _ = file_system(addresses[0])
    found = system.cat([file_system(address)[1] for address in addresses], recursive=False, on_error="omit")
    return {str(system.unstrip_protocol(name)): bytes(content) for name, content in found.items()}


@contextmanager
def said_of(what: str, kind: type[T2CError]) -> Iterator[None]:
    """Turn whatever file systems and damaged files raise into an error of ours, which says what cannot be read."""
    try:
        yield
    except T2CError:
        raise
    except Exception as exc:  # codecs, archives and file systems raise anything, from OSError to struct.error
        raise kind(f"{what} cannot be read: {_said(exc)}") from exc


def _said(exc: Exception) -> str:
    return getattr(exc, "strerror", None) or str(exc) or type(exc).__name__


def storable(time_ns: int) -> int:
    """Return a time of change that stores can hold: of the years 1678 to 2262, whatever a file says."""
    return max(INT64.start, min(time_ns, INT64.stop - 1))


def _remote_stat(entry: dict[str, Any]) -> Stat:
    moment = next((entry[name] for name in _TIMES if entry.get(name)), 0)
    try:
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        if isinstance(moment, datetime):
            moment = moment.timestamp()
        mtime_ns = storable(round(moment * 1e9))
    except (ValueError, OverflowError, TypeError):
        mtime_ns = 0  # as for file systems that do not tell
    size = entry.get("size")
    return Stat(UNKNOWN_SIZE if size is None else int(size), mtime_ns, entry.get("type") == "directory")
