"""Files and folders that are filled aside: they appear when they are complete, and a failure leaves nothing behind."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from t2c_search.errors import T2CError, UsageError


def _fresh(folder: Path) -> Path:
    """Return a path in the folder that nobody could foresee: no link waits there, and no other export writes to it."""
    return folder / f".{secrets.token_hex(8)}.partial"


@contextmanager
def file_aside(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its place at ``path`` when the block ends; after an exception in it nothing has changed.

    Raises UsageError where it cannot be written.
    """
    with _refusals(path):
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name a file to write")
        if path.exists() and not path.is_file():  # a pipe or a device is written to, not replaced
            with path.open("wb") as target:
                yield target
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _fresh(path.parent)
        try:
            with partial.open("xb") as target:
                yield target
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """Fill a folder whose content moves to the new or empty ``folder`` when the block ends; none of it after an exception.

    Raises UsageError when ``folder`` cannot be written, or holds something already.
    """
    with _refusals(folder):
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        aside = _fresh(folder)  # inside, as the folder may be the current one, or a disk's own
        try:
            aside.mkdir()
            if any(each != aside for each in folder.iterdir()):  # another export's too, which began at the same time
                raise UsageError(
                    f"folder {str(folder)!r} is not empty: name a new one, so that two results are never mixed"
                )
            yield aside
            for each in aside.iterdir():
                each.rename(folder / each.name)
            aside.rmdir()
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            if made:
                with suppress(OSError):
                    folder.rmdir()
            raise


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Tell of a place that cannot be written as the caller's mistake."""
    try:
        yield
    except T2CError:  # of what is written: a store's are connection errors too
        raise
    except OSError as exc:
        raise UsageError(f"{path} cannot be written: {exc.strerror or exc}") from exc
