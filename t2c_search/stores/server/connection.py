"""One client of a Qdrant server, or of the in-memory engine: its errors become ours, what may pass is tried again."""

from __future__ import annotations

import base64
import ipaddress
import os
import random
import re
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import UnexpectedResponse

from t2c_search.errors import (
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
    T2CError,
    T2CWarning,
    UsageError,
)
from t2c_search.settings import load_settings
from t2c_search.stores.columns import REQUEST_BYTES
from t2c_search.stores.protocol import Limits
from t2c_search.stores.server.failures import is_cut, is_unreadable, store_error

RETRY_SECONDS = 60.0
"""A request is tried again for so long: a server's restart or a busy spell passes, an outage is reported."""
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 8.0
TOLD_AFTER_SECONDS = 2.0
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
        self.limits: dict[str, Limits] = {}
        """What the server allows with each collection, once that was asked for."""
        self.transport: str | None = None
        """How a server is spoken to."""
        self.request_bytes = REQUEST_BYTES
        """Size of one upload, as far as this server or a proxy before it is known to take it."""
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
        patience = Patience(self._location)
        unreadable = 0
        while True:
            if self._closed:
                raise StoreError(f"the store at {self._location} was closed; open it again")
            try:
                with self._turn:
                    answer = request(*args, **kwargs)
            except T2CError:
                raise
            except ResourceExhaustedResponse as exc:
                patience.obey(exc.retry_after_s)
            except Exception as exc:
                error, may_pass = store_error(exc, self._location)
                if isinstance(exc, UnexpectedResponse) or not isinstance(
                    error, StoreUnavailableError | StoreTimeoutError
                ):
                    self._answered = True
                if is_cut(exc) or (self._is_qdrant and is_unreadable(exc)):
                    unreadable += 1
                    may_pass = unreadable < _UNREADABLE_ANSWERS
                if not may_pass or not self._answered or not patience.wait(error):
                    raise error from exc
            else:
                self._answered = True
                return answer

    def close(self) -> None:
        """Release the connection; closing again does nothing."""
        if not self._closed:
            self._closed = True
            self.client.close()


class Patience:
    """Waits before a request is tried again, and says so, once, when that takes longer than people wait without a word."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._began = time.monotonic()
        self._deadline = self._began + RETRY_SECONDS
        self._wait = FIRST_WAIT_SECONDS
        self._told = False

    def wait(self, error: StoreError) -> bool:
        """Wait, a little longer each time; False when it is time to give up."""
        now = time.monotonic()
        if now + self._wait > self._deadline:
            return False
        if now - self._began > TOLD_AFTER_SECONDS:
            self._tell(f"{error}. Trying again for {self._deadline - now:.0f} s")
        time.sleep(self._wait * random.uniform(0.5, 1.0))  # apart from other clients of the same server
        self._wait = min(2 * self._wait, LONGEST_WAIT_SECONDS)
        return True

    def obey(self, seconds: float) -> None:
        """Wait as long as the server asks for: it limits how many requests it takes, and will take this one."""
        if seconds > TOLD_AFTER_SECONDS:
            self._tell(f"{self._location} takes no more requests for {seconds:.0f} s, by its rate limit: waiting")
        time.sleep(seconds)
        self._deadline += seconds

    def _tell(self, message: str) -> None:
        if not self._told:
            self._told = True
            warnings.warn(f"{time.strftime('%H:%M:%S')} {message}", T2CWarning, stacklevel=2)


def connect(location: str, api_key: str | None, timeout: float) -> Connection:
    """Connect to a server: gRPC where its port answers, else REST. Raises UsageError for an address without a host.

    A user and password in the address go to a proxy that asks for them (Basic). The authorities of SSL_CERT_FILE are those
    that sign certificates, on this machine too.
    """
    try:
        address = urlsplit(location)
        host, _ = address.hostname, address.port
        (host or "").encode("idna")  # as it is looked up
    except ValueError as exc:  # its text may tell half a password
        raise UsageError(f"store {location!r} cannot be used; expected http(s)://host:port") from exc
    if not host:
        raise UsageError(f"store {location!r} names no host; expected http(s)://host:port")
    local = _is_local(host)
    if api_key and address.scheme == "http" and not local:
        _warn_of_plain_key(host)
    authorities = os.environ.get("SSL_CERT_FILE")
    if authorities and address.scheme == "https":
        os.environ.setdefault("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", authorities)
    verify: dict[str, Any] = {"verify": _context(authorities, location)} if authorities and local else {}
    grpc_port = _grpc_port(address)
    over_grpc = grpc_port is not None and _listens(host, grpc_port)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Api key is used with an insecure connection"
        )  # said by us, or no matter
        client = QdrantClient(
            url=address._replace(netloc=address.netloc.rpartition("@")[2]).geturl(),
            api_key=api_key,
            timeout=max(1, round(timeout)),
            grpc_port=grpc_port or _GRPC_PORT,
            prefer_grpc=over_grpc,
            check_compatibility=False,  # its thread would warn on standard error at any time
            trust_env=not local,  # no proxy between this machine and itself
            headers=_credentials(address),
            **verify,
        )
    connection = Connection(client, location)
    connection.transport = f"gRPC at port {grpc_port}" if over_grpc else "REST"
    return connection


def _grpc_port(address: SplitResult) -> int | None:
    """Return the port where gRPC may be found: the one that is set (0: nowhere), else Qdrant's own beside its own for REST."""
    given = load_settings().qdrant_grpc_port
    if given is not None:
        return given or None
    return _GRPC_PORT if address.port in (None, _REST_PORT) and not address.path.strip("/") else None


def _credentials(address: SplitResult) -> dict[str, str] | None:
    if address.username is None:
        return None
    told = f"{unquote(address.username)}:{unquote(address.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(told.encode()).decode()}"}


def _context(authorities: str, location: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as exc:
        raise UsageError(f"SSL_CERT_FILE={authorities} cannot be read for {location}: {exc}") from exc


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
