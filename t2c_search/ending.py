"""How the command line ends before its time: by a signal, or when its output cannot be written; in order, with one sentence."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from t2c_search.errors import T2CError

_SIGNALS = ("SIGTERM", "SIGHUP")  # as orderly as Ctrl-C; Windows has no SIGHUP


class Terminated(KeyboardInterrupt):
    """A signal asks this process to end; what treats a Ctrl-C treats this too."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return what a shell reports of a program that ended by that signal: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let the signals that end a process raise Terminated, so that what is half made is removed."""
    named = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    taken = [number for number in named if signal.getsignal(number) == signal.SIG_DFL]  # nohup has SIGHUP ignored
    for number in taken:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # asked twice, it is still cleaning up
    raise Terminated(number)


def open_standard_streams() -> None:
    """Give a process that was started without standard streams ones that lead nowhere, before a file takes their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115


def fail(message: object, code: int) -> NoReturn:
    """End with a message on standard error, where that can be written, and an exit code."""
    with suppress(OSError):
        print(f"t2c: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


@contextmanager
def in_order() -> Iterator[None]:
    """End in order on a signal, and where standard output is closed or full, as in ``t2c search ... | head``, ``> /dev/full``.

    All that was printed is written when the block ends, before typer ends with an exit code of its own.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        raise SystemExit(128 + 13) from None  # what a shell reports of a program that a closed pipe (SIGPIPE) ended
    except KeyboardInterrupt as exc:
        fail("interrupted", exit_code(exc))
    except T2CError:
        raise
    except OSError as exc:
        if exc.filename is not None:  # not of a stream
            raise
        _drop_output()
        fail(f"the output cannot be written: {exc.strerror or exc}", 1)


def _drop_output() -> None:
    """Send what is left of the output nowhere: the interpreter's last flush would complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
