"""Fit a concept bottleneck: from labelled images and a vocabulary to a head, and how good it is beside its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from t2c_search.concepts.bottleneck.concepts import random_words, said_before, too_near
from t2c_search.concepts.bottleneck.curve import NCCS, Rows, fit_path, measure
from t2c_search.concepts.bottleneck.sample import Labelled
from t2c_search.concepts.vocabulary import Vocabulary
from t2c_search.errors import UsageError
from t2c_search.filters import Scalar
from t2c_search.query.planning.texts import Texts
from t2c_search.state.bottlenecks import Bottleneck, Fitted
from t2c_search.state.derived import derived_field
from t2c_search.types import FloatArray, unit_rows

NCC = 15
"""Concepts that a decision may take, unless told: as many as the drawn world's rules are told within 3 points with
(``benchmarks.concepts``), and as many as are still read."""

_ONE_WORD = 1e-3  # spread of a coordinate below which texts have one vector, but for rounding


@dataclass(frozen=True, slots=True)
class Asked:
    """What a bottleneck is asked for: its name, the payload field whose values it tells, the most NCC, and the seed of folds.

    ``wordings`` are the texts that a value means, where its own words are none. Labels
    written back are ``derived.NAME``, so that the name is one word. Raises UsageError for what cannot be.
    """

    name: str
    field: str
    wordings: Mapping[str, str | Sequence[str]]
    ncc: int = NCC
    seed: int = 0

    def __post_init__(self) -> None:
        derived_field(self.name)
        if not 1 <= self.ncc <= 100:
            raise UsageError(f"ncc {self.ncc} cannot be used; expected 1 to 100 concepts")

    def said_of(self, label: Scalar) -> tuple[str, ...]:
        """Return the texts of a class: what was given, or else its name where that is a word."""
        given = self.wordings.get(str(label))
        if given is not None:
            return (given,) if isinstance(given, str) else tuple(given)
        return (label.replace("_", " "),) if isinstance(label, str) else ()


def fit_bottleneck(labelled: Labelled, vocabulary: Vocabulary, texts: Texts, asked: Asked) -> Bottleneck:
    """Fit a bottleneck on labelled images, and measure it by cross-validation.

    Concepts too near to a class (``too_near``) or to another concept (``said_before``) are left out. Raises UsageError where
    fewer than two are left, and for wordings of no class.
    """
    _check_wordings(asked.wordings, labelled.classes)
    said = [asked.said_of(label) for label in labelled.classes]
    classes = _class_rows(texts, said)
    rows = texts.rows(vocabulary.names)
    near = said_before(vocabulary.names, rows) | too_near(vocabulary.names, rows, said, classes)
    places = [at for at in range(len(vocabulary)) if at not in near]
    if len(places) < 2:
        raise UsageError(
            f"{len(places)} of {len(vocabulary)} concepts are left, as others say what a class or another concept does: give more"
        )
    names = [vocabulary.names[at] for at in places]
    words = _random_rows(texts, len(names), asked.seed)
    nccs = sorted({*NCCS, asked.ncc})
    curve = measure(labelled, Rows(rows[places], words, classes), nccs, asked.seed)
    path = fit_path(rows[places], labelled.vectors, labelled.labels, asked.ncc)
    head = path.at(asked.ncc)[1]
    used = np.flatnonzero(np.abs(head.weights).any(0))
    scale = path.scale.take(used)
    return Bottleneck(
        asked.name,
        asked.field,
        labelled.classes,
        tuple(names[at] for at in path.places[used]),
        scale.directions,
        scale.mean,
        scale.sd,
        head.weights[:, used],
        head.bias,
        curve,
        Fitted(
            len(labelled.labels),
            labelled.found,
            vocabulary.source,
            len(names),
            asked.ncc,
            asked.seed,
            tuple(near[at] for at in sorted(near)),
            labelled.rare,
        ),
    )


def _class_rows(texts: Texts, said: Sequence[tuple[str, ...]]) -> FloatArray | None:
    """Return the classes' unit rows (c, d), each the mean of its wordings'; None where a class has no words."""
    if not all(said):
        return None
    found = [unit_rows(texts.rows(wordings).mean(0, keepdims=True))[0] for wordings in said]
    return np.array(found, np.float32)


def _random_rows(texts: Texts, count: int, seed: int) -> FloatArray | None:
    """Return the unit rows (count, d) of random words; None of a text model that takes few words, or all of these for one."""
    if not texts.free_text:
        return None
    rows = texts.rows(random_words(count, seed))
    return rows if float(np.ptp(rows, axis=0).max()) > _ONE_WORD else None


def _check_wordings(wordings: Mapping[str, str | Sequence[str]], classes: Sequence[Scalar]) -> None:
    named = [str(label) for label in classes]
    if strange := [name for name in wordings if name not in named]:
        raise UsageError(f"{strange[0]!r} is no class; there are: {', '.join(named)}")
