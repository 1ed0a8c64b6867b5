"""Values that commas, tabs and the like separate, line by line. A quote that nothing closes costs no row behind it."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from t2c_search.sources.inputs import SUFFIXES

OPEN = "a quote that nothing closes is taken for a letter: close it, or write it twice within quotes"
ROWS_WITHIN = "rows seem to lie within the quotes of a value: look for a quote that nothing closes"
_DELIMITERS = ",\t;|"
_SUFFIXES = tuple(SUFFIXES)
_ROW_LETTERS = 16 << 20  # a row of several lines that is longer has a quote that nothing closes
csv.field_size_limit(2**31 - 1)  # its default costs a table for one long cell; what is kept of one has its own bound


Told = Callable[[str, int], None]
"""Is told what is odd about the quotes of a row, and the number of its first line; the header's is 1."""


class Separated:
    """What separates the values of a table, read off its header: of comma, tab, semicolon and ``|`` the one that splits it.

    In a TSV (``tabs``) quotes are letters as any other, unless its header begins with one.
    """

    def __init__(self, header: str, *, tabs: bool) -> None:
        choices = "\t" if tabs and "\t" in header else _DELIMITERS
        splits = {choice: next(csv.reader([header], delimiter=choice), []) for choice in choices}
        self._delimiter = max(splits, key=lambda choice: len(splits[choice]))
        self._quoted = self._delimiter != "\t" or not tabs or header.startswith('"')
        self.columns = [column.strip().lower() for column in splits[self._delimiter]]

    def rows(self, lines: Iterable[str], told: Told) -> Iterator[list[str]]:
        """Yield each row's values, no more than there are columns; blank lines are passed over."""
        found = self._read_quoted(lines, told) if self._quoted else (self._split(line) for line in lines)
        last = len(self.columns) - 1
        for row in found:
            if len(row) > len(self.columns):  # a last column with delimiters that nobody quoted
                row[last:] = [self._delimiter.join(row[last:])]
            if row:
                yield row

    def _split(self, line: str) -> list[str]:
        line = line.rstrip("\r\n")
        return line.split(self._delimiter) if line else []

    def _read_quoted(self, lines: Iterable[str], told: Told) -> Iterator[list[str]]:
        source = _Lines(iter(lines))
        reader = csv.reader(source, delimiter=self._delimiter, strict=True)  # or quotes would swallow rows unseen
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error:
                number, line = source.take_first()
                row, is_open = self._read_alone(line)
                if is_open:
                    told(OPEN, number)
            else:
                number, behind = source.take_all()
                if any(map(self._is_row, behind)):
                    told(ROWS_WITHIN, number)
            yield row

    def _is_row(self, line: str) -> bool:
        """Tell whether a line looks like a row of its own: with as many values as there are columns, one a picture's name."""
        values = line.split(self._delimiter)
        return len(values) == len(self.columns) and any(
            value.strip(' "\r\n').lower().endswith(_SUFFIXES) for value in values
        )

    def _read_alone(self, line: str) -> tuple[list[str], bool]:
        """Return the values in a line, and whether a quote in it opens what it does not close: the last one, then."""
        is_open = False
        while True:
            lines = iter((line, ""))
            row = next(csv.reader(lines, delimiter=self._delimiter))
            if next(lines, None) is not None:
                return row, is_open
            is_open = True
            before, _, behind = line.rpartition('"')
            line = before + behind


class _Lines:
    """Lines of which those handed out since the last row's end can be handed out again."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self._held: deque[str] = deque()
        self._letters = 0
        self._first = 2  # behind the header

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._held.append(line)
        self._letters += len(line)
        if len(self._held) > 1 and self._letters > _ROW_LETTERS:
            raise csv.Error("no end of the row")
        return line

    def take_all(self) -> tuple[int, list[str]]:
        """End a row with the line that was handed out last; returns the number of its first one, and those behind that."""
        number, behind = self._first, list(islice(self._held, 1, None))
        self._held.clear()
        self._first, self._letters = number + 1 + len(behind), 0
        return number, behind

    def take_first(self) -> tuple[int, str]:
        """End a row with its first line, which is returned with its number; the others are handed out again."""
        number, line = self._first, self._held.popleft()
        self._again.extendleft(reversed(self._held))
        self._held.clear()
        self._first, self._letters = number + 1, 0
        return number, line
