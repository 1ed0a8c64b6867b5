"""The concepts saved with a collection, by name."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.errors import CollectionFormatError, UsageError
from t2c_search.state.kept import Kept
from t2c_search.stores.protocol import VectorStore


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


def load_concepts(content: bytes) -> Mapping[str, SavedConcept]:
    """Read what ``dump_concepts`` wrote. Raises CollectionFormatError when it is something else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            rows = zip(stored["names"].tolist(), stored["directions"], stored["thresholds"].tolist(), strict=True)
            return {name: SavedConcept(name, row, None if np.isnan(at) else at) for name, row, at in rows}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
        raise CollectionFormatError(f"the collection's saved concepts cannot be read ({exc}); add them again") from exc


CONCEPTS: Kept[Mapping[str, SavedConcept]] = Kept("concepts", {}, dump_concepts, load_concepts)


def save_concept(store: VectorStore, concept: SavedConcept) -> None:
    """Save a concept, in place of one of its name; those that others save meanwhile stay."""
    CONCEPTS.update(store, lambda saved: {**saved, concept.name: concept})


def forget_concept(store: VectorStore, name: str) -> None:
    """Forget a saved concept. Raises UsageError, naming those there are, when there is none of that name."""

    def change(saved: Mapping[str, SavedConcept]) -> Mapping[str, SavedConcept]:
        if name not in saved:
            raise UsageError(f"no concept is saved as {name!r}; there are: {', '.join(saved) or 'none'}")
        return {other: concept for other, concept in saved.items() if other != name}

    CONCEPTS.update(store, change)
