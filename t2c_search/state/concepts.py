"""The concepts saved with a collection, by name."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.errors import CollectionFormatError


@dataclass(frozen=True, slots=True, eq=False)
class SavedConcept:
    """A direction (d,) float64 with a name; ``threshold`` in standard deviations stands in for the default one."""

    name: str
    direction: npt.NDArray[np.float64]
    threshold: float | None = None


def dump_concepts(concepts: Mapping[str, SavedConcept]) -> bytes:
    """Serialise concepts to an npz archive, to keep with their collection."""
    stream = io.BytesIO()
    thresholds = [np.nan if concept.threshold is None else concept.threshold for concept in concepts.values()]
    np.savez(
        stream,
        names=np.array(list(concepts), np.str_),
        directions=np.array([concept.direction for concept in concepts.values()]),
        thresholds=np.array(thresholds, np.float64),
    )
    return stream.getvalue()


def load_concepts(content: bytes) -> dict[str, SavedConcept]:
    """Read what ``dump_concepts`` wrote. Raises CollectionFormatError when it is something else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            rows = zip(stored["names"].tolist(), stored["directions"], stored["thresholds"].tolist(), strict=True)
            return {name: SavedConcept(name, row, None if np.isnan(at) else at) for name, row, at in rows}
    except (OSError, ValueError, KeyError, EOFError) as exc:
        raise CollectionFormatError(f"the collection's saved concepts cannot be read ({exc}); add them again") from exc
