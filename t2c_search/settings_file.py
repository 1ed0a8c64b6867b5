"""``t2c.toml`` of the working folder: what it sets, and whether the user trusts it.

Anybody may have put it there. Until it is trusted it may set what does no harm: no server, no model whose code is not ours, and
nothing at all where a key comes from elsewhere, as it could send that anywhere. Trust is of a path and a content: a record in
the user's configuration folder, named by the one's hash, holds the other's.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from t2c_search.errors import UsageError, redact

NAME = "t2c.toml"
HARMLESS_KINDS = ("open_clip", "timm", "st", "precomputed", "mini")
"""Kinds of encoders that run no code but ours and our dependencies'."""
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A settings file by its absolute path, the hash of its content, and what it sets."""

    path: Path
    digest: str
    values: Mapping[str, Any]

    @property
    def is_trusted(self) -> bool:
        """Whether the user has trusted this very content in this place."""
        return self._trusted_digest() == self.digest

    def require_harmless(self, *, key_elsewhere: bool) -> None:
        """Raise UsageError, with the command that trusts it, for a file that is not trusted and sets what may do harm."""
        found = self._harm(key_elsewhere)
        if not found or self.is_trusted:
            return
        state = "is not trusted" if self._trusted_digest() is None else "has changed since you trusted it"
        raise UsageError(
            f"{self.path} {found}, and {state}: look at it, and if you want that, run: t2c settings trust ."
        )

    def is_server_of(self, location: str) -> bool:
        """Tell whether a location is on the server that the file names itself, and so may be told the file's key."""
        own = _server(str(self.values.get("store", "")))
        return own is not None and own == _server(location)

    def trust(self) -> None:
        """Trust the file as it is now. Raises UsageError where that cannot be recorded."""
        record = self._record()
        try:
            record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            record.write_text(f"{self.digest}\n{self.path}\n", "utf-8", errors="surrogateescape")
        except OSError as exc:
            raise UsageError(f"what is trusted cannot be recorded in {record.parent}: {exc.strerror}") from exc

    def _harm(self, key_elsewhere: bool) -> str:
        if "://" in (store := str(self.values.get("store", ""))):
            return f"names the server {redact(store)!r}"
        for name in ("clip", "backbone"):
            if name in self.values and str(self.values[name]).partition(":")[0] not in HARMLESS_KINDS:
                return f"names the model {self.values[name]!r}, which runs code of its own"
        if key_elsewhere and self.values:
            return f"sets {next(iter(self.values))!r} beside a key that is not its own (T2C_QDRANT_API_KEY)"
        return ""

    def _trusted_digest(self) -> str | None:
        try:
            return self._record().read_text("utf-8", errors="surrogateescape").partition("\n")[0]
        except OSError:
            return None

    def _record(self) -> Path:
        return _configuration_folder() / "trusted" / sha256(os.fsencode(self.path)).hexdigest()


def read_settings_file(folder: Path = Path()) -> SettingsFile | None:
    """Read the settings file of a folder; None where there is none. Raises UsageError for one that cannot be read."""
    file = folder / NAME
    if not file.is_file():  # a pipe would be waited for
        return None
    path = file.parent.resolve() / NAME
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"{path} is larger than {_MOST_BYTES >> 20} MiB: that is no settings file")
        return SettingsFile(path, sha256(content).hexdigest(), tomllib.loads(content.decode()))
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise UsageError(f"{path} cannot be read: {exc}") from exc


def _configuration_folder() -> Path:
    """Return the user's folder for what this package keeps. A relative one would lie in the working folder, and is none."""
    named = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME", "")
    base = Path(named) if Path(named).is_absolute() else Path("~/.config").expanduser()
    return base / "t2c_search"


def _server(location: str) -> tuple[str, str, int | None] | None:
    """Return the scheme, host and port of a server's address; None for a folder."""
    try:
        address = urlsplit(location)
        port = address.port
    except ValueError:
        return None
    return (address.scheme, address.hostname, port) if address.hostname else None
