"""One client of a Qdrant server, or of the in-memory engine: its errors become ours, what may pass is tried again."""

from __future__ import annotations

import ipaddress
import json
import random
import re
import socket
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import grpc
import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from t2c_search.errors import (
    CollectionNotFoundError,
    StoreAccessError,
    StoreError,
    StoreFullError,
    StoreTimeoutError,
    StoreUnavailableError,
    T2CError,
    T2CWarning,
    UsageError,
)

RETRY_SECONDS = 60.0
"""A request is tried again for so long: a server's restart or a busy spell passes, an outage is reported."""
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 8.0
_REST_PORT, _GRPC_PORT = 6333, 6334  # Qdrant's own pair; behind any other port gRPC cannot be guessed
_PROBE_SECONDS = 1.0
_UNREADABLE_ANSWERS = 6
"""Of one request: half an answer is asked for again, but what never answers otherwise is no Qdrant server, or a newer one."""
LEAST_VERSION = (1, 18)
"""Of servers: with 1.16 they take a condition for an upsert, with 1.18 named vectors are added to a collection. Former ones
pass over what they do not know, and would lose updates."""

_warned: set[str] = set()  # hosts whose key is sent in the clear, each told once

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class Connection:
    """Calls a client's methods, mapping errors and trying again; requests must be safe to repeat.

    ``one_at_a_time`` is for the in-memory engine, which has no version of its own.
    """

    def __init__(self, client: QdrantClient, location: str, *, one_at_a_time: bool = False) -> None:
        self.client = client
        self._location = location
        self._turn: AbstractContextManager[object] = threading.RLock() if one_at_a_time else nullcontext()
        self._version_known = one_at_a_time
        self._answered = False
        self._is_qdrant = one_at_a_time
        self._closed = False

    def call(
        self, request: Callable[_Arguments, _Answer], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Answer:
        """Return the answer of one of the client's methods. Raises StoreError or one of its kinds.

        An address that has never answered is not tried again: it is more likely mistyped than restarting. Before the first
        answer the server's version is asked for.
        """
        if not self._version_known:
            self._check_version()
        return self._call(request, *args, **kwargs)

    def _check_version(self) -> None:
        """Raise StoreError for a server that is too old. One that tells no version, as behind some proxies, is let through."""
        try:
            version = self._call(self.client.info).version
        except (StoreUnavailableError, StoreTimeoutError):
            raise
        except StoreError:  # whatever is wrong, the request itself will tell
            version = ""
        known = re.match(r"(\d+)\.(\d+)\.", version)
        if known and (int(known[1]), int(known[2])) < LEAST_VERSION:
            least = ".".join(map(str, LEAST_VERSION))
            raise StoreError(
                f"{self._location} runs Qdrant {version}, which would lose updates of a collection; upgrade the server to "
                f"{least} or later"
            )
        self._version_known, self._is_qdrant = True, known is not None

    def _call(
        self, request: Callable[_Arguments, _Answer], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Answer:
        deadline = time.monotonic() + RETRY_SECONDS
        wait = FIRST_WAIT_SECONDS
        unreadable = 0
        while True:
            if self._closed:
                raise StoreError(f"the store at {self._location} was closed; open it again")
            try:
                with self._turn:
                    answer = request(*args, **kwargs)
            except T2CError:
                raise
            except Exception as exc:
                error, may_pass = _store_error(exc, self._location)
                if not isinstance(error, StoreUnavailableError | StoreTimeoutError):
                    self._answered = True
                if _is_cut(exc) or (self._is_qdrant and _is_unreadable(exc)):
                    unreadable += 1
                    may_pass = unreadable < _UNREADABLE_ANSWERS
                if not may_pass or not self._answered or time.monotonic() + wait > deadline:
                    raise error from exc
            else:
                self._answered = True
                return answer
            time.sleep(wait * random.uniform(0.5, 1.0))  # apart from other clients of the same server
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def close(self) -> None:
        """Release the connection; closing again does nothing."""
        if not self._closed:
            self._closed = True
            self.client.close()


def connect(location: str, api_key: str | None, timeout: float) -> Connection:
    """Connect to a server: gRPC where its port answers, else REST. Raises UsageError for an address without a host."""
    try:
        address = urlsplit(location)
        host, port = address.hostname, address.port
    except ValueError as exc:  # its text may tell half a password
        raise UsageError(f"store {location!r} cannot be used; expected http(s)://host:port") from exc
    if not host:
        raise UsageError(f"store {location!r} names no host; expected http(s)://host:port")
    local = _is_local(host)
    if api_key and address.scheme == "http" and not local:
        _warn_of_plain_key(host)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Api key is used with an insecure connection"
        )  # said by us, or no matter
        client = QdrantClient(
            url=location,
            api_key=api_key,
            timeout=max(1, round(timeout)),
            grpc_port=_GRPC_PORT,
            prefer_grpc=port in (None, _REST_PORT) and not address.path.strip("/") and _listens(host, _GRPC_PORT),
            check_compatibility=False,  # its thread would warn on standard error at any time
            trust_env=not local,  # no proxy between this machine and itself
        )
    return Connection(client, location)


def _is_local(host: str) -> bool:
    """Tell whether a host is this machine's own loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _warn_of_plain_key(host: str) -> None:
    if host not in _warned:
        _warned.add(host)
        warnings.warn(
            f"the key for {host} goes over plain http, where who sits between can read it: use https://",
            T2CWarning,
            stacklevel=2,
        )


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def _store_error(exc: Exception, location: str) -> tuple[StoreError, bool]:
    """Map a client's exception; the flag says whether the same request may succeed later."""
    match exc:
        case ResponseHandlingException():
            return _transport_error(exc.source, location)
        case UnexpectedResponse():
            return _status_error(exc.status_code or 0, _reason(exc.content), location)
        case ResourceExhaustedResponse():
            return StoreUnavailableError(f"{location} refuses more requests for now: {exc.message}"), True
        case grpc.Call():
            return _grpc_error(exc.code(), exc.details() or "", location)
        case json.JSONDecodeError() if _is_cut(exc):
            return StoreError(
                f"{location} broke off its answers, or gave empty ones; see its log, or the proxy's"
            ), False
        case json.JSONDecodeError():
            return _not_qdrant(location, exc), False
        case AssertionError():  # how the client says that an answer lacks its result
            return _not_qdrant(location, exc), False
        case _ if "not found" in str(exc) and "ollection" in str(exc):  # the in-memory engine raises plain ValueError
            return CollectionNotFoundError(f"{location}: {exc}"), False
    return StoreError(f"{location}: {type(exc).__name__}: {exc}"), False


def _is_cut(exc: Exception) -> bool:
    """Tell whether an answer was empty, or the beginning of one."""
    return isinstance(exc, json.JSONDecodeError) and (not exc.doc.strip() or exc.doc.lstrip()[0] == "{")


def _is_unreadable(exc: Exception) -> bool:
    """Tell whether an answer has not the form that the client expects."""
    if isinstance(exc, ResponseHandlingException):
        return not isinstance(exc.source, httpx.HTTPError)
    return isinstance(exc, json.JSONDecodeError | AssertionError)


def _transport_error(source: Exception, location: str) -> tuple[StoreError, bool]:
    match source:
        case httpx.TimeoutException():
            return _timeout(location), True
        case httpx.TransportError():
            return _unavailable(location, str(source)), True
    return _not_qdrant(location, source), False


def _status_error(status: int, reason: str, location: str) -> tuple[StoreError, bool]:
    if status in (401, 403):
        return _refused(location, reason), False
    if status == 404:
        return _not_found(location, reason), False
    if status in (408, 504):
        return _timeout(location), True
    if status == 429 or status >= 500:
        return _failed(location, reason, f"status {status}")
    return StoreError(f"{location} refused the request with status {status}: {reason}"), False


def _grpc_error(code: grpc.StatusCode, reason: str, location: str) -> tuple[StoreError, bool]:
    match code:
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return _refused(location, reason), False
        case grpc.StatusCode.NOT_FOUND:
            return _not_found(location, reason), False
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return _timeout(location), True
        case grpc.StatusCode.UNAVAILABLE:
            return _unavailable(location, reason), True
        case grpc.StatusCode.INTERNAL | grpc.StatusCode.RESOURCE_EXHAUSTED | grpc.StatusCode.UNKNOWN:
            return _failed(location, reason, code.name)
    return StoreError(f"{location} refused the request with {code.name}: {reason}"), False


def _timeout(location: str) -> StoreError:
    return StoreTimeoutError(f"{location} did not answer in time; it may be overloaded: try again, or smaller batches")


def _unavailable(location: str, reason: str) -> StoreError:
    return StoreUnavailableError(f"nothing answers at {location} ({reason}); is the Qdrant server running there?")


def _not_qdrant(location: str, source: Exception) -> StoreError:
    return StoreError(f"{location} does not answer like a Qdrant server; is the address right? ({source})")


def _refused(location: str, reason: str) -> StoreError:
    return StoreAccessError(f"{location} refused our key ({reason}); set T2C_QDRANT_API_KEY to one that may do this")


def _not_found(location: str, reason: str) -> StoreError:
    if "ollection" in reason:
        return CollectionNotFoundError(f"{location}: {reason}. Index images to make it")
    return StoreError(f"{location} answered 'not found': {reason}")


def _failed(location: str, reason: str, status: str) -> tuple[StoreError, bool]:
    if "no space" in reason.lower() or "disk space" in reason.lower():
        return StoreFullError(f"the disk of {location} is full: {reason}. Make room there and run again"), False
    return StoreError(f"{location} failed with {status}: {reason}"), True


def _reason(content: bytes) -> str:
    try:
        return str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")
