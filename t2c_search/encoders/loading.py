"""Where models come from: folders on this machine and the model hub, and what goes wrong there."""

from __future__ import annotations

import os.path
import socket
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from t2c_search.errors import EncoderError, T2CError, UnknownEncoderError

LOCAL_DIR = "local-dir:"
LOADING = threading.RLock()
"""Held while a model is loaded: the libraries have switches that are the process's own, HF_HUB_OFFLINE among them."""
_PROBE_SECONDS = 3.0  # without a probe, the hub's client retries a dead network for half a minute per file


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'a' or 'b'?"`` for the nearest known names, or nothing when none is near."""
    names = list(known)
    near = get_close_matches(name, names, n=3) or [other for other in names if name and name in other][:3]
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def local_folder(encoder_id: str, path: str, required: str = "") -> Path:
    """Return the absolute path of a model's folder, so that the id works from any working directory.

    Raises UnknownEncoderError when there is no such folder, or no file named ``required`` in it.
    """
    folder = absolute(path)
    if not folder.is_dir():
        beside = [entry.name for entry in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise UnknownEncoderError(f"{encoder_id!r}: there is no folder {folder}{suggest(folder.name, beside)}")
    if required and not (folder / required).is_file():
        raise UnknownEncoderError(f"{encoder_id!r}: folder {folder} holds no {required}: it is no model of this kind")
    return folder


def absolute(path: str) -> Path:
    """Return an absolute path without ``~`` and ``..``, as it was named: links are not followed."""
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100  resolve() would follow them


@contextmanager
def loading(encoder_id: str, remedy: str, *, from_hub: bool) -> Iterator[None]:
    """Load one model at a time; turn whatever its library raises into an EncoderError; without a network fail at once.

    ``remedy`` says how to use the model from a local folder, for when the hub does not have it or is out of reach.
    """
    from huggingface_hub import constants

    with LOADING:
        was_offline = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = was_offline or (from_hub and not _reachable(constants.ENDPOINT))
        try:
            yield
        except T2CError:
            raise
        except Exception as exc:  # the libraries raise anything, from KeyError to their own trees
            if _misses_hub(exc):
                why = "HF_HUB_OFFLINE is set" if was_offline else "the model hub did not deliver it"
                raise EncoderError(f"{encoder_id!r} is not on this machine, and {why}; {remedy}") from exc
            reason = str(exc).strip().split("\n", 1)[0]
            raise EncoderError(f"{encoder_id!r} cannot be loaded: {type(exc).__name__}: {reason}") from exc
        finally:
            constants.HF_HUB_OFFLINE = was_offline


def _reachable(endpoint: str) -> bool:
    """Tell whether the hub's host answers. Behind a proxy only the proxy can tell, so the answer is yes."""
    if urllib.request.getproxies().keys() & {"https", "all"}:
        return True
    url = urlsplit(endpoint)
    try:
        with socket.create_connection((url.hostname or "", url.port or 443), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False


def _misses_hub(error: BaseException) -> bool:
    """Tell whether a hub failure lies anywhere under an error: libraries wrap it, often without ``from``."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, EntryNotFoundError | HfHubHTTPError | OfflineModeIsEnabled):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
