"""Things worth telling the user that stop nothing."""

from __future__ import annotations


class Remarks:
    """Things worth telling the user, each once with the number of files it concerns and the first of them."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, text: str, path: str) -> None:
        """Note one more file."""
        count, first = self._found.get(text, (0, path))
        self._found[text] = count + 1, first

    def lines(self) -> tuple[str, ...]:
        """One line for each thing noted."""
        return tuple(
            f"{text} ({first})" if count == 1 else f"{text} ({count} times, first {first})"
            for text, (count, first) in self._found.items()
        )
