"""Images at web addresses; apart from the other addresses, as its library takes a tenth of a second to import."""

from __future__ import annotations

import time
from functools import cache
from urllib.request import getproxies

import httpx

from t2c_search.decoding.files import check_size
from t2c_search.errors import ImageError
from t2c_search.sources.private import are_private_addresses_allowed, check_public, public_places

TIMEOUT = 30.0
"""Seconds that a server may take to answer, or to go on answering."""
_FETCH_SECONDS = 120.0  # for one whole file: a server that drips must not hold a thread for ever


def fetch(address: str) -> bytes:
    """Return what a web server sends. Raises ImageError when it fails, takes too long, sends too much or is refused."""
    deadline = time.monotonic() + _FETCH_SECONDS
    content = bytearray()
    try:
        with client(are_private_addresses_allowed()).stream("GET", address) as answer:
            if not answer.is_success:
                raise ImageError(f"the server answered {answer.status_code} {answer.reason_phrase}")
            for part in answer.iter_bytes():
                content += part
                check_size(len(content))
                if time.monotonic() > deadline:
                    raise ImageError(f"the server did not finish within {_FETCH_SECONDS:.0f} s")
    except httpx.TimeoutException as exc:
        raise ImageError(f"the server did not answer within {TIMEOUT:.0f} s") from exc
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise ImageError(f"the address cannot be fetched: {exc or type(exc).__name__}") from exc
    return bytes(content)


@cache
def client(may_be_private: bool) -> httpx.Client:
    """Return the client that goes anywhere, or the one that judges each address, and again at each redirect."""
    proxied = bool(getproxies())  # then it is the proxy that connects, and each address can only be judged before
    return httpx.Client(
        timeout=TIMEOUT,
        follow_redirects=True,
        headers={"User-Agent": "t2c-search"},
        transport=None if may_be_private or proxied else _PublicTransport(),
        event_hooks={"request": [_check_request] if proxied and not may_be_private else []},
    )


def _check_request(request: httpx.Request) -> None:
    check_public(str(request.url))


class _PublicTransport(httpx.HTTPTransport):
    """Connects to the very IP address that was judged: asked again, the name might have another one."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.raw_host.decode("ascii")
        failure = httpx.ConnectError(f"there is no machine {host!r}", request=request)
        for place in public_places(host):
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=place),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return super().handle_request(pinned)
            except httpx.ConnectError as exc:  # of several addresses not all can be reached from everywhere
                failure = exc
        raise failure
