"""Contact sheets where people look at them: in a file, and in the browser or the system's viewer."""

from __future__ import annotations

import os
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from t2c_search.cli.render import err


def show_sheet(write: Callable[[Path], None], sheet: Path | None, *, open: bool, what: str = "contact sheet") -> None:
    """Write a sheet where asked for, and ``open`` it; a page in a temporary folder of this user's where no file is named.

    ``what`` it is called when it is told where it lies.
    """
    if sheet is None and not open:
        return
    path = sheet or Path(tempfile.mkdtemp(prefix="t2c-")) / "sheet.html"
    write(path)
    if open and not _open(path):
        err.print(f"no browser or viewer could be opened here; the sheet is {err.shown(path)}", soft_wrap=True)
    elif sheet is not None:
        err.print(f"[dim]{what}: {err.shown(path)}[/]", soft_wrap=True)


def _open(path: Path) -> bool:
    """Tell whether a browser took the file. Without a display none is tried that is not named: it would take the terminal."""
    displays = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform not in ("darwin", "win32") and not any(map(os.environ.get, displays)):
        return False
    with _own_output():
        return webbrowser.open(path.absolute().as_uri())


@contextmanager
def _own_output() -> Iterator[None]:
    """Keep standard output from a browser that starts: it would write among the results, and hold a pipe open."""
    kept = os.dup(1)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
