"""How results look on a terminal, and how they are printed for scripts."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleDimensions, ConsoleOptions
from rich.markup import escape
from rich.measure import Measurement
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
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from t2c_search.decoding.metadata import MEMBER
from t2c_search.errors import UsageError, brief
from t2c_search.settings import load_settings

if TYPE_CHECKING:
    from t2c_search.stores.protocol import Wait
    from t2c_search.types import Failure


_UNBOUNDED = 1_000_000  # columns of what is no terminal: nothing is folded or cut there
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves a terminal's cursor, gives it commands or turns text round: C0 but for tab and line feed, C1, bidi controls."""
_MOST = 600  # characters of a line that a message repeats
_CUT = "…"
_LEAST = 20  # columns of a path, where there is room


def harmless(text: str) -> str:
    """Return a text with its control characters written as JSON writes them (``\\u001b``), which stays valid there."""
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class _Console(Console):
    """A console that shows what comes from elsewhere so that it does no harm, and leaves what is piped as it is.

    A reader who went away is left to the application: rich itself would end with exit code 1.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, emoji=False)

    @property  # type: ignore[misc]  # rich's own can be set, which nobody does
    def size(self) -> ConsoleDimensions:
        """The terminal's size; without one, no line is too long."""
        return super().size if self.is_terminal else ConsoleDimensions(_UNBOUNDED, 25)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make rich's text of a string; all strings that are printed come this way."""
        return super().render_str(harmless(text) if self.is_terminal else text, **options)

    def shown(self, value: object) -> str:
        """Return a name, path or other text from elsewhere for a message: not taken for markup, and on a terminal in one line."""
        text = str(value)
        return escape(_in_one_line(text) if self.is_terminal else text)

    def complaint(self, message: object) -> str:
        """Return a message that ends a command: harmless, and without the middle of a line that is too long to read."""
        text = "\n".join(brief(line, _MOST) for line in str(message).split("\n"))
        return harmless(text) if self.is_terminal else text

    def on_broken_pipe(self) -> None:
        """Go on raising the BrokenPipeError that rich is just treating."""
        raise


out = _Console()
err = _Console(stderr=True)


@dataclass(frozen=True, slots=True)
class ShownPath:
    """A path in a table: as it is where it is piped; on a terminal a link, its middle cut out where it is too long."""

    path: str
    name: str
    """How it is shown: the path, or what is left of it below the current folder."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        if console.is_terminal:
            yield Segment(_cut(_in_one_line(self.name), options.max_width), Style(link=_link(self.path)))
        else:
            yield Segment(self.name)
        yield Segment.line()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = cell_len(_in_one_line(self.name) if console.is_terminal else self.name)
        return Measurement(min(width, _LEAST), width)


def _in_one_line(text: str) -> str:
    return harmless(text.replace("\n", "\\n"))


def _cut(text: str, width: int) -> str:
    """Leave out the middle of what is wider than so many columns; the end, a file's name, keeps the larger part."""
    if cell_len(text) <= width:
        return text
    room = max(width - len(_CUT), 1)
    tail = text[-room:]
    while cell_len(tail) > room - room // 3:
        tail = tail[1:]
    return f"{set_cell_size(text, room // 3)}{_CUT}{tail}"


def _link(path: str) -> str | None:
    """The address that a terminal opens for an image, of a member its archive; None where there is none."""
    file = path.partition(MEMBER)[0]
    if file.startswith(("http://", "https://")):
        return file if file.isascii() and file.isprintable() else None
    return Path(file).as_uri() if file.startswith("/") else None


def standard_output() -> BinaryIO:
    """Return where hits are written that no file is named for: exact, unless it is a terminal."""
    return cast(BinaryIO, _Terminal()) if sys.stdout.isatty() else sys.stdout.buffer


class _Terminal(io.RawIOBase):
    """A binary file that shows on the terminal what is written to it, harmlessly."""

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        sys.stdout.write(harmless(bytes(content).decode("utf-8", "replace")))
        return len(content)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    text = json.dumps(document, ensure_ascii=False, default=_plain) + "\n"
    sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)


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
    if not typer.confirm(harmless(question), err=True):
        err.print("nothing was changed", style="dim")
        raise typer.Exit(1)


def key_value_table(rows: Mapping[str, object]) -> Table:
    """Lay out names and values in two quiet columns."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, out.shown(value))
    return table


class _RateColumn(ProgressColumn):
    """Images, or what else a run counts, per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} {self._unit}/s" if task.speed else "", style="dim")


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
def loading() -> Iterator[None]:
    """Show on a terminal that models are being loaded, which takes a while, for what is asked then."""
    with err.status("loading the models, and asking", spinner_style="dim") if err.is_terminal else nullcontext():
        yield


@contextmanager
def progress_bar(unit: str = "images") -> Iterator[_Bar]:
    """Show progress with rate and time left on a terminal; nothing when standard error is piped."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
        console=err,
        disable=not err.is_terminal,
    ) as bars:
        yield _Bar(bars)
