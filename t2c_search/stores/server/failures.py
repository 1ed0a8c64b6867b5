"""What went wrong with a request to a server, in our words, and whether the same request may succeed later."""

from __future__ import annotations

import json
import re

import grpc
import httpx
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from t2c_search.errors import (
    CollectionNotFoundError,
    StoreAccessError,
    StoreError,
    StoreFullError,
    StoreTimeoutError,
    StoreTooLargeError,
    StoreUnavailableError,
)

_UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed", re.IGNORECASE)
_NO_TLS = re.compile(
    r"WRONG_VERSION_NUMBER|WRONG_SSL_VERSION|HTTP_REQUEST|UNKNOWN_PROTOCOL|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG"
    r"|UNEXPECTED_EOF|EOF occurred in violation",
    re.IGNORECASE,
)
_TLS = re.compile(r"https port|https server|illegal status line: bytearray\(b'\\x15", re.IGNORECASE)
"""How a port that speaks TLS answers what is not: in words, or by a TLS alert."""
_TOO_LARGE = re.compile(r"larger than (?:allowed|max)|too large", re.IGNORECASE)
_AWAY = ("status 502", "status 503")
"""How a proxy tells that nothing answers behind it, and a server that it is starting or ending."""
_TITLE = re.compile(r"<title>\s*(.{1,100}?)\s*</title>", re.IGNORECASE | re.DOTALL)


def store_error(exc: Exception, location: str) -> tuple[StoreError, bool]:
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
        case json.JSONDecodeError() if is_cut(exc):
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


def is_cut(exc: Exception) -> bool:
    """Tell whether an answer was empty, or the beginning of one."""
    return isinstance(exc, json.JSONDecodeError) and (not exc.doc.strip() or exc.doc.lstrip()[0] == "{")


def is_unreadable(exc: Exception) -> bool:
    """Tell whether an answer has not the form that the client expects."""
    if isinstance(exc, ResponseHandlingException):
        return not isinstance(exc.source, httpx.HTTPError)
    return isinstance(exc, json.JSONDecodeError | AssertionError)


def _transport_error(source: Exception, location: str) -> tuple[StoreError, bool]:
    match source:
        case httpx.TimeoutException():
            return _timeout(location), True
        case httpx.TransportError():
            return _unreachable(location, str(source))
    return _not_qdrant(location, source), False


def _status_error(status: int, reason: str, location: str) -> tuple[StoreError, bool]:
    if status == 413 or (status == 400 and _TOO_LARGE.search(reason)):
        return _too_large(location), False
    if status == 400 and _TLS.search(reason):
        return _speaks_tls(location), False
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
    if _TOO_LARGE.search(reason):
        return _too_large(location), False
    match code:
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return _refused(location, reason), False
        case grpc.StatusCode.NOT_FOUND:
            return _not_found(location, reason), False
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return _timeout(location), True
        case grpc.StatusCode.UNAVAILABLE:
            return _unreachable(location, reason)
        case grpc.StatusCode.INTERNAL | grpc.StatusCode.RESOURCE_EXHAUSTED | grpc.StatusCode.UNKNOWN:
            return _failed(location, reason, code.name)
    return StoreError(f"{location} refused the request with {code.name}: {reason}"), False


def _timeout(location: str) -> StoreError:
    return StoreTimeoutError(f"{location} did not answer in time; it may be overloaded: try again, or smaller batches")


def _unreachable(location: str, reason: str) -> tuple[StoreError, bool]:
    if _UNTRUSTED.search(reason):
        told = (
            f"the certificate of {location} is not trusted ({_one_line(reason)}): name the file of the authority that "
            "signed it in the variable SSL_CERT_FILE"
        )
        return StoreAccessError(told), False
    if location.startswith("https:") and _NO_TLS.search(reason):
        return StoreError(f"what answers at {location} speaks no TLS: use http:// for it"), False
    if _TLS.search(reason):
        return _speaks_tls(location), False
    if location.startswith("http:") and "disconnected without" in reason:
        reason = "the connection was closed without an answer: does it speak TLS, as https:// asks for?"
    told = f"nothing answers at {location} ({_one_line(reason)}); is the Qdrant server running there?"
    return StoreUnavailableError(told), True


def _speaks_tls(location: str) -> StoreError:
    return StoreError(f"what answers at {location} speaks TLS: use https:// for it")


def _too_large(location: str) -> StoreError:
    return StoreTooLargeError(
        f"{location}, or a proxy before it, takes no request of this size: raise its limit "
        "(client_max_body_size of nginx, max_request_size_mb of Qdrant)"
    )


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
    kind = StoreUnavailableError if status in _AWAY else StoreError
    return kind(f"{location} failed with {status}: {reason}"), True


def _reason(content: bytes) -> str:
    try:
        return str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return _one_line(content[:4000].decode(errors="replace"))


def _one_line(text: str) -> str:
    """Tell in one line what a page of a proxy, or any other text, says."""
    if "<html" in text.lower() or "<!doctype" in text.lower():
        title = _TITLE.search(text)
        return f"a page of a proxy, {title[1]!r}" if title else "a page of a proxy"
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}..."
