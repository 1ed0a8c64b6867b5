"""Things worth telling the user that stop nothing."""

from __future__ import annotations

from dataclasses import dataclass

from t2c_search.errors import redact


@dataclass(frozen=True, slots=True)
class Remark:
    """A kind of thing worth telling, how often it was met, and the first that it concerns."""

    kind: str
    count: int
    example: str

    def redacted(self) -> Remark:
        """Return it as it is shown, without the passwords of addresses."""
        return Remark(redact(self.kind), self.count, redact(self.example))

    def __str__(self) -> str:
        return (
            f"{self.kind} ({self.example})"
            if self.count == 1
            else f"{self.kind} ({self.count} times, first {self.example})"
        )


class Remarks:
    """Things worth telling the user, each kind once with the number of files it concerns and the first of them."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, path: str) -> None:
        """Note one more file."""
        count, first = self._found.get(kind, (0, path.encode("utf-8", "replace").decode()))
        self._found[kind] = count + 1, first

    def all(self) -> tuple[Remark, ...]:
        """One remark for each kind, in the order in which they were first noted."""
        return tuple(Remark(kind, count, first) for kind, (count, first) in self._found.items())

    def lines(self) -> tuple[str, ...]:
        """One line for each kind."""
        return tuple(map(str, self.all()))
