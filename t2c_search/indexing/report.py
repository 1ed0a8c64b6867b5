"""What happened to every input of an indexing run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from t2c_search.errors import redact
from t2c_search.profile import NO_PROFILE, Profile
from t2c_search.sources.remarks import Remark
from t2c_search.types import Failure


@dataclass(frozen=True, slots=True)
class IndexReport:
    """Counts of inputs: seen = indexed + renamed + copied + updated + unchanged + failed.

    ``indexed``: embedded and written; ``renamed``, ``copied``: written with the vectors of a file of the same bytes, which
    is gone or still there; ``updated``: the file is as it was, but its captions or fields changed. ``deleted`` counts
    points, not inputs: their files are gone. ``remarks`` tell, by kind, what was passed over while listing, and what else is
    worth knowing.
    """

    seen: int
    indexed: int
    updated: int
    unchanged: int
    failures: tuple[Failure, ...]
    seconds: float
    renamed: int = 0
    copied: int = 0
    deleted: int = 0
    remarks: tuple[Remark, ...] = ()
    profile: Profile = NO_PROFILE

    @classmethod
    def of_failures(cls, failures: Sequence[Failure]) -> Self:
        """Report a run that got no image at all."""
        return cls(len(failures), 0, 0, 0, tuple(failures), 0.0)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The remarks, a line each."""
        return tuple(map(str, self.remarks))

    @property
    def failed(self) -> int:
        """Number of inputs that were not indexed."""
        return len(self.failures)

    @property
    def all_failed(self) -> bool:
        """Whether there were inputs and not one of them is in the collection now."""
        return self.seen > 0 and self.failed == self.seen

    @property
    def images_per_second(self) -> float:
        """Images indexed per second of the whole run, loading the models included."""
        return self.indexed / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the report as ``t2c index --json`` prints it."""
        return {
            "seen": self.seen,
            "indexed": self.indexed,
            "renamed": self.renamed,
            "copied": self.copied,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "deleted": self.deleted,
            "failed": self.failed,
            "failures": [asdict(failure.redacted()) for failure in self.failures],
            "remarks": [asdict(remark.redacted()) for remark in self.remarks],
            "warnings": [redact(warning) for warning in self.warnings],
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 2),
            "profile": self.profile.to_json(),
        }
