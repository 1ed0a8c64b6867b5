"""Which remote addresses those who write a table may name.

A table is somebody else's as often as not, and what it names is fetched from this machine, inside whatever network that is.
So loopback, link-local, private and reserved addresses are refused to it, judged by what a name resolves to.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from t2c_search.errors import ImageError

_NAT64 = IPv6Network("64:ff9b::/96")
_HOSTS = re.compile(r"(?:^|::)([A-Za-z][A-Za-z0-9+.-]+)://(?:[^/@]*@)?(\[[^]/]*\]|[^:/?#]*)")
_WEB = re.compile(r"\bhttps?://", re.IGNORECASE)
_BUCKETS = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "hf", "memory"))
"""Schemes in which no machine's name stands behind ``://``."""
_ADVICE = "if you trust the table: t2c index --allow-private"

_allowed: ContextVar[bool] = ContextVar("private_addresses", default=True)


@contextmanager
def private_addresses(allowed: bool) -> Iterator[None]:
    """Say whether what this thread fetches within may come from private addresses; elsewhere it may."""
    former = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(former)


def are_private_addresses_allowed() -> bool:
    """Tell whether this thread may fetch from private addresses now."""
    return _allowed.get()


def check_public(address: str) -> None:
    """Raise ImageError where private addresses are not allowed, and a remote one leads there, or is chained to such a one."""
    if _allowed.get():
        return
    for scheme, host in _HOSTS.findall(address):
        if scheme.lower() not in _BUCKETS:
            public_places(host.strip("[]"))


def check_container(address: str) -> None:
    """Raise ImageError as ``check_public``, and for archives at web addresses: nobody would judge where they redirect to."""
    if not _allowed.get() and _WEB.search(address):
        raise ImageError(
            f"a table may not name what lies in an archive at a web address; name the archive, or, {_ADVICE}"
        )
    check_public(address)


def public_places(host: str) -> list[str]:
    """Return the IP addresses of a name, none when it has none. Raises ImageError when any of them is private."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    places = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for place in places:
        if not _is_public(ip_address(place.partition("%")[0])):
            raise ImageError(f"a table may not name the private address {place} of {host!r}; {_ADVICE}")
    return places


def _is_public(place: IPv4Address | IPv6Address) -> bool:
    """Tell addresses that everybody can reach, also where an IPv4 address lies in an IPv6 one."""
    if isinstance(place, IPv6Address):
        inner = place.ipv4_mapped or place.sixtofour or (place.teredo and place.teredo[1])
        if place in _NAT64:
            inner = IPv4Address(int(place) & 0xFFFF_FFFF)
        if inner:
            return _is_public(inner)
    return place.is_global and not place.is_multicast
