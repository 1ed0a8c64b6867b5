"""Functions of ours in a process of their own: what may be the process's death, or holds the interpreter's lock for minutes.

Such a process finds modules where this one does, but not in the working folder, where anybody may have put a ``json.py``. Its
answer is a file of its own: what it or its libraries print is none, and is seen by nobody.
``python -m t2c_search.child MODULE:FUNCTION ANSWER ARGUMENT...`` is that process; ``call`` starts it and waits.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from t2c_search import errors
from t2c_search.errors import T2CError

_POLL_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


class NoAnswerError(Exception):
    """The process ended with an exit ``code``, minus the number of the signal that killed it, and without an answer."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason or f"it ended with exit code {code}")
        self.code = code


def call(function: Callable[..., Any], *arguments: str, on_wait: Callable[[], None] | None = None) -> Any:
    """Call a module's function in a process of its own; return its answer, which must have a JSON form.

    ``on_wait`` is called about twice a second. Raises the T2CError that the function raised, and NoAnswerError where the
    process died, its answer cannot be read, or another exception ended it.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer"
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, _name(function), str(answer), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": search_path()},
            start_new_session=True,  # Ctrl-C is this process's, which then ends the other one
        )
        try:
            while True:
                if on_wait is not None:
                    on_wait()
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_POLL_SECONDS)
                    break
        finally:
            child.kill()
            child.wait()
        return _read(answer, child.returncode)


def search_path() -> str:
    """Return the ``PYTHONPATH`` of other processes: this one's folders but the working folder, unless this package lies there."""
    home = str(Path(__file__).parents[1])
    try:
        here = os.path.realpath(Path.cwd())
    except FileNotFoundError:  # it was deleted
        here = ""
    absolute = [folder for folder in sys.path if Path(folder).is_absolute()]
    folders = [folder for folder in absolute if folder == home or os.path.realpath(folder) != here]
    return os.pathsep.join(folders if home in folders else [*folders, home])


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__qualname__}"


def _read(file: Path, code: int) -> Any:
    try:
        answer = json.loads(file.read_bytes())
    except (OSError, ValueError) as exc:
        raise NoAnswerError(code) from exc
    match answer:
        case {"answer": found}:
            return found
        case {"error": str(kind), "message": str(message)}:
            raise getattr(errors, kind)(message)
        case {"fault": str(reason)}:
            raise NoAnswerError(code, reason)
    raise NoAnswerError(code)


def main() -> int:
    """Call the function that the command line names, and write what it answers, or raises, to the file named behind it."""
    if sys.platform == "linux":  # who waits may be killed, and must not leave a store locked for minutes
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    name, file, *arguments = sys.argv[1:]
    module, _, function = name.partition(":")
    told: dict[str, Any]
    try:
        told = {"answer": getattr(import_module(module), function)(*arguments)}
    except T2CError as exc:
        told = {"error": type(exc).__name__, "message": str(exc)}
    except BaseException as exc:  # an engine's panic is no Exception
        told = {"fault": f"{type(exc).__name__}: {exc}"}
    Path(file).write_text(json.dumps(told), "utf-8")
    return 0 if "answer" in told else 1


if __name__ == "__main__":
    sys.exit(main())
