"""Scenes and captions as arrays, and which caption is true of which scene, for whole batches at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2c_search.demo import words
from t2c_search.demo.captions import captions
from t2c_search.demo.truth import Statement, Truth, read
from t2c_search.demo.world import Scene

MOST = 4  # objects in a scene
CAPTIONS_EACH = 8  # captions collected for each scene
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.int8]

ATTRIBUTES = {"shape": words.SHAPES, "colour": words.COLOURS, "fill": words.FILLS, "size": words.SIZES}
OPEN = -1  # in a pattern: any value will do
ABSENT = -2  # in a scene: no such object


@dataclass(frozen=True, slots=True)
class Truths:
    """The truths of n scenes.

    ``attributes`` (n, 4 objects, 4 attributes) int8; ``background`` (n,) int8; ``stands`` (n, 5, 4, 4) bool: whether the
    first object stands in that relation to the second, relation 0 being that they are two different objects.
    """

    attributes: ByteArray
    background: ByteArray
    stands: BoolArray

    @classmethod
    def of(cls, truths: Sequence[Truth]) -> Truths:
        """Put truths into arrays."""
        attributes = np.full((len(truths), MOST, len(ATTRIBUTES)), ABSENT, np.int8)
        background = np.array([_index(words.BACKGROUNDS, truth.background) for truth in truths], np.int8)
        stands = np.zeros((len(truths), 1 + len(words.RELATIONS), MOST, MOST), bool)
        for i, truth in enumerate(truths):
            for j, thing in enumerate(truth.things):
                attributes[i, j] = [_index(names, getattr(thing, kind)) for kind, names in ATTRIBUTES.items()]
                for k, other in enumerate(truth.things):
                    if j != k:
                        stands[i, :, j, k] = [True, *(thing.stands(relation, other) for relation in words.RELATIONS)]
        return cls(attributes, background, stands)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> Truths:
        return Truths(self.attributes[rows], self.background[rows], self.stands[rows])


@dataclass(frozen=True, slots=True)
class Statements:
    """What m captions say: ``patterns`` (m, 2 objects, 4 attributes) int8, and (m,) int8 each of the rest.

    ``count`` is that of the only pattern, if it has one; ``objects`` is how many patterns there are.
    """

    patterns: ByteArray
    count: ByteArray
    objects: ByteArray
    relation: ByteArray
    background: ByteArray

    @classmethod
    def of(cls, texts: Sequence[str]) -> Statements:
        """Read captions, which name two objects at most, into arrays."""
        statements = [read(text) for text in texts]
        patterns = np.full((len(texts), 2, len(ATTRIBUTES)), OPEN, np.int8)
        for i, statement in enumerate(statements):
            for j, pattern in enumerate(statement.patterns):
                patterns[i, j] = [_index(names, getattr(pattern, kind)) for kind, names in ATTRIBUTES.items()]

        def column(values: Iterable[int]) -> ByteArray:
            return np.fromiter(values, np.int8, len(texts))

        return cls(
            patterns,
            column(_count(statement) for statement in statements),
            column(len(statement.patterns) for statement in statements),
            column(1 + _index(words.RELATIONS, statement.relation) for statement in statements),
            column(_index(words.BACKGROUNDS, statement.background) for statement in statements),
        )

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> Statements:
        return Statements(
            self.patterns[rows], self.count[rows], self.objects[rows], self.relation[rows], self.background[rows]
        )


def agree(statements: Statements, truths: Truths) -> BoolArray:
    """Which statement is true of which scene, (m, n) bool: what ``Truth.satisfies`` says of each pair."""
    wanted = statements.patterns[:, None, :, None, :]
    fits = ((wanted == OPEN) | (wanted == truths.attributes[None, :, None])).all(-1)
    fits &= (truths.attributes[None, :, None, :, 0] != ABSENT)  # fmt: skip
    found = fits[:, :, 0].sum(-1)
    count = statements.count[:, None]
    result: BoolArray = (statements.background[:, None] == OPEN) | (
        statements.background[:, None] == truths.background[None]
    )
    result &= (statements.objects[:, None] == 0) | np.where(count == OPEN, found > 0, found == count)
    two = np.flatnonzero(statements.objects == 2)
    stands = truths.stands[:, statements.relation[two]].transpose(1, 0, 2, 3)
    result[two] &= (fits[two, :, 0, :, None] & fits[two, :, 1, None, :] & stands).any((-1, -2))
    return result


@dataclass(frozen=True, slots=True)
class Lessons:
    """n training scenes: ``images`` (n, h, w, 3) uint8, their truths, and ``said`` (n, k): rows of ``texts`` true of each."""

    images: npt.NDArray[np.uint8]
    truths: Truths
    texts: tuple[str, ...]
    said: npt.NDArray[np.int64]

    @classmethod
    def of(cls, scenes: Iterable[Scene], *, say: Callable[[Scene, int], list[str]] = captions) -> Lessons:
        """Collect drawn scenes with what ``say`` says of them."""
        images, truths, said = [], [], []
        for scene in scenes:
            images.append(scene.image)
            truths.append(Truths.of([scene.truth]))  # at once: the masks of all scenes would fill the memory
            said.append(say(scene, CAPTIONS_EACH))
        texts = tuple(sorted({text for each in said for text in each}))
        row = {text: i for i, text in enumerate(texts)}
        joined = Truths(
            np.concatenate([truth.attributes for truth in truths]),
            np.concatenate([truth.background for truth in truths]),
            np.concatenate([truth.stands for truth in truths]),
        )
        return cls(np.stack(images), joined, texts, np.array([[row[text] for text in each] for each in said]))

    def spoken(self) -> list[str]:
        """What is said of the scenes, one after the other."""
        return [self.texts[row] for row in self.said.flat]


def _index(names: dict[str, tuple[str, ...]], name: str | None) -> int:
    return OPEN if name is None else list(names).index(name)


def _count(statement: Statement) -> int:
    first = statement.patterns[0] if statement.patterns else None
    return OPEN if first is None or first.count is None else first.count
