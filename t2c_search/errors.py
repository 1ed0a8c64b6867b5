"""Every error that t2c_search raises on purpose.

    T2CError
    ├── UsageError (ValueError)               an argument or option that cannot be used
    │   ├── UnknownEncoderError (LookupError) an encoder id that names nothing
    │   └── ExpressionError                   a filter or constraint expression that cannot be read
    ├── ImageError (ValueError)               one image that cannot be decoded
    ├── EncoderError (RuntimeError)           a model that cannot be loaded or run
    │   └── UnknownVectorError (LookupError)  a precomputed folder has no vector of that name
    ├── AlignmentError (ValueError)           an aligner that cannot be fitted, loaded or applied
    │   └── AlignerMismatchError              an aligner fitted for another backbone or CLIP model
    └── StoreError (RuntimeError)             the vector store refused or failed
        ├── StoreUnavailableError (ConnectionError)   nothing answers there
        ├── StoreTimeoutError (TimeoutError)          it answered too late
        ├── StoreAccessError (PermissionError)        it refused our credentials
        ├── StoreLockedError                          another process has it open
        ├── StoreFullError                            no room left on its disk
        ├── StoreTooLargeError                        a request is larger than it takes
        ├── StoreLimitError                           its strict mode allows no such thing
        ├── CollectionNotFoundError (LookupError)     no such collection there
        ├── CollectionReplacedError                   another one took its place while it was asked
        └── CollectionFormatError                     made by a newer version, or not by us
            └── CollectionDamagedError                part of it is lost or altered

Each message says what came, what was expected and what to do; what an error knows beside is in its attributes, None where
the one who raised it did not know. Errors of dependencies are mapped here with ``raise ... from exc``; whatever else escapes
is a bug. Errors cross between processes: each can be pickled. Passwords in addresses are left out of every message.
"""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"(?i)(?P<scheme>\b[a-z][a-z0-9+.-]{0,30}://)(?P<rest>(?:(?!\W[a-z][a-z0-9+.-]{0,30}://)\S)+)")
_CREDENTIALS = re.compile(r"^(?:[^/?#]*@|[^/?#:@\[]+:(?!\d+[/?#])\S*@)")  # also where a password has a bare slash in it
_SECRET = re.compile(r"(?i)([?&;][\w.-]*(?:password|passwd|secret|signature|sig|token|key|credential)=)[^&;#\s'\"]+")


def redact(text: str) -> str:
    """Return a text in which the addresses tell no user, password, key or signature: ``http://***@host/?token=***``."""
    return _ADDRESS.sub(_redact_address, text)


def _redact_address(found: re.Match[str]) -> str:
    return found["scheme"] + _SECRET.sub(r"\1***", _CREDENTIALS.sub("***@", found["rest"]))


class T2CError(Exception):
    """Root of the tree: catch this to catch everything that t2c_search raises on purpose."""

    def __init__(self, message: str = "") -> None:
        super().__init__(redact(message))


class T2CWarning(UserWarning):
    """What the user should know and decide on, though nothing failed."""


class UsageError(T2CError, ValueError):
    """An argument or option that cannot be used."""


class UnknownEncoderError(UsageError, LookupError):
    """An encoder id that names nothing; ``known`` are those of its kind that there are."""

    def __init__(self, message: str = "", *, id: str | None = None, known: tuple[str, ...] | None = None) -> None:
        super().__init__(message)
        self.id = id
        self.known = known


class ExpressionError(UsageError):
    """A filter or constraint expression that cannot be read.

    ``position`` is the offset of the character of ``expression`` that is wrong. In a tree, ``pointer`` leads there
    (JSON Pointer, RFC 6901).
    """

    def __init__(
        self,
        message: str = "",
        *,
        expression: str | None = None,
        position: int | None = None,
        pointer: str | None = None,
    ) -> None:
        super().__init__(message)
        self.expression = expression
        self.position = position
        self.pointer = pointer

    @property
    def line(self) -> int | None:
        """Line of the position, from 1."""
        if self.expression is None or self.position is None:
            return None
        return self.expression.count("\n", 0, self.position) + 1

    @property
    def column(self) -> int | None:
        """Column of the position in its line, from 1."""
        if self.expression is None or self.position is None:
            return None
        return self.position - self.expression.rfind("\n", 0, self.position)


class ImageError(T2CError, ValueError):
    """One image that cannot be decoded; the run goes on without it. ``path`` is that of the image."""

    def __init__(self, message: str = "", *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class EncoderError(T2CError, RuntimeError):
    """A model that cannot be loaded or run; ``id`` is the encoder's."""

    def __init__(self, message: str = "", *, id: str | None = None) -> None:
        super().__init__(message)
        self.id = id


class UnknownVectorError(EncoderError, LookupError):
    """A precomputed folder holds no vector of that name."""


class AlignmentError(T2CError, ValueError):
    """An aligner that cannot be fitted, loaded or applied."""


class AlignerMismatchError(AlignmentError):
    """An aligner fitted for another backbone or another CLIP model: ``expected`` and ``got`` are the models' ids."""

    def __init__(self, message: str = "", *, expected: str | None = None, got: str | None = None) -> None:
        super().__init__(message)
        self.expected = expected
        self.got = got


class StoreError(T2CError, RuntimeError):
    """The vector store at ``location`` refused or failed, asked about ``collection``."""

    def __init__(self, message: str = "", *, location: str | None = None, collection: str | None = None) -> None:
        super().__init__(message)
        self.location = location
        self.collection = collection


class StoreUnavailableError(StoreError, ConnectionError):
    """Nothing answers at the store's address, or a proxy there says that nothing answers behind it."""


class StoreTimeoutError(StoreError, TimeoutError):
    """The store answered too late."""


class StoreAccessError(StoreError, PermissionError):
    """The store refused our credentials."""


class StoreLockedError(StoreError):
    """Another process has the embedded store open."""


class StoreFullError(StoreError):
    """No room is left on the store's disk."""


class StoreTooLargeError(StoreError):
    """A request is larger than the server, or a proxy before it, takes."""


class StoreLimitError(StoreError):
    """The server's strict mode does not allow what was asked, in whatever parts."""


class CollectionNotFoundError(StoreError, LookupError):
    """The store has no collection of that name."""


class CollectionReplacedError(StoreError):
    """Another collection took this one's place while it was asked: ask again."""


class CollectionFormatError(StoreError):
    """The collection was made by a newer version, or not by t2c_search."""


class CollectionDamagedError(CollectionFormatError):
    """Part of what the collection is made of is lost or altered."""


def brief(text: str, most: int = 60) -> str:
    """Return a text as a message repeats it: what is in the middle of a long one is left out."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-(most // 2) :]}"
