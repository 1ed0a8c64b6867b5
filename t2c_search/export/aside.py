"""Files and folders that are filled aside: they appear when they are complete, and a failure leaves nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from t2c_search.errors import T2CError, UsageError

_ASIDE = ".partial"


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
        partial = path.with_name(f".{path.name}{_ASIDE}")
        try:
            with partial.open("wb") as target:
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
        if (folder / _ASIDE).exists():
            raise UsageError(
                f"folder {str(folder)!r} holds {_ASIDE}, of an export that is under way or was interrupted: remove it, or "
                "name another folder"
            )
        if any(folder.iterdir()):
            raise UsageError(
                f"folder {str(folder)!r} is not empty: name a new one, so that two results are never mixed"
            )
        aside = folder / _ASIDE  # inside, as the folder may be the current one, or a disk's own
        try:
            aside.mkdir()
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
