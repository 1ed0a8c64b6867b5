"""How results look on a terminal, and how they are printed for scripts."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from t2c_search.errors import UsageError
from t2c_search.settings import load_settings

if TYPE_CHECKING:
    from t2c_search.stores.protocol import Wait
    from t2c_search.types import Failure


class _Console(Console):
    """A console that leaves a reader who went away to the application: rich itself would end with exit code 1."""

    def on_broken_pipe(self) -> None:
        """Go on raising the BrokenPipeError that rich is just treating."""
        raise


out = _Console(highlight=False)
err = _Console(stderr=True, highlight=False)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def waiting(seconds: float | None) -> Wait:
    """Return how long a command that reads waits for another process, the setting's time if not told; it says so."""
    from t2c_search.stores.protocol import Wait

    def tell(message: str) -> None:
        err.print(message, style="dim", markup=False, soft_wrap=True)

    return Wait(load_settings().wait if seconds is None else seconds, tell)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is lost, unless it was said already. Ends the command when the answer is no.

    Raises UsageError where nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can be asked here: give --yes to do it")
    if not typer.confirm(question, err=True):
        err.print("nothing was changed", style="dim")
        raise typer.Exit(1)


def key_value_table(rows: Mapping[str, object]) -> Table:
    """Lay out names and values in two quiet columns."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, escape(str(value)))
    return table


class _RateColumn(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} images/s" if task.speed else "", style="dim")


class _Bar:
    """Draws a run's progress with rate, failures and time left."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._failed = 0

    def start(self, total: int | None, stage: str) -> None:
        """Begin a stage's bar; one without an end is over by now."""
        if self._task is not None and (last := self._bars.tasks[-1]).total is None:
            self._bars.update(self._task, total=last.completed, visible=last.completed > 0)
        self._failed = 0
        self._task = self._bars.add_task(stage, total=total, failed="")

    def advance(self, images: int) -> None:
        """Move the bar on."""
        if self._task is not None:
            self._bars.advance(self._task, images)

    def fail(self, failure: Failure) -> None:
        """Count a failure beside the bar; the report at the end names it."""
        self._failed += 1
        if self._task is not None:
            self._bars.update(self._task, failed=f"{self._failed} failed")


@contextmanager
def progress_bar() -> Iterator[_Bar]:
    """Show progress with rate and time left on a terminal; nothing when standard error is piped."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
        console=err,
        disable=not err.is_terminal,
    ) as bars:
        yield _Bar(bars)
