"""Concepts to directions: texts, joint sentences, images, stored points, saved concepts and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, singledispatch

import numpy as np

from t2c_search.errors import UsageError, brief
from t2c_search.query.language.concepts import (
    Anywhere,
    Concept,
    Contrast,
    Difference,
    Image,
    Like,
    Phrase,
    Saved,
    ShownImage,
    Sum,
)
from t2c_search.query.language.printer import unparse
from t2c_search.query.planning.calibration import Array, Axis, Calibration, cosines
from t2c_search.query.planning.regions import Reservoir
from t2c_search.query.planning.remembered import Remembered
from t2c_search.query.planning.texts import Texts
from t2c_search.state.concepts import SavedConcept
from t2c_search.types import FloatArray

EmbedImage = Callable[[str], FloatArray]
"""An image file to its unit vector (d,) float32."""
TakeReservoir = Callable[[], Reservoir]
"""Images with their factors. Raises UsageError in a collection that keeps none."""
FetchVector = Callable[[str], FloatArray | None]
"""A point's id to its unit vector (d,) float32, or None when there is no such point."""

CACHED_AXES = 512


@dataclass(frozen=True, slots=True)
class Lookups:
    """How directions are made of what is not text: images, stored points, and what regions are measured by."""

    embed_image: EmbedImage
    fetch: FetchVector
    take_reservoir: TakeReservoir


class Directions:
    """The calibrated directions of concepts in one collection.

    They are made of texts, of images and points by their vectors, and of the saved concepts. Axes of texts, which are asked
    for again and again, are remembered.
    """

    def __init__(
        self,
        calibration: Calibration,
        texts: Texts,
        lookups: Lookups,
        saved: Mapping[str, SavedConcept],
    ) -> None:
        self.calibration = calibration
        self.texts = texts
        self.lookups = lookups
        self._saved = saved
        self._axes: Remembered[Concept | tuple[str, ...], Axis] = Remembered(CACHED_AXES)

    def axis(self, concept: Concept) -> Axis:
        """Calibrated direction of a concept, of whole images or of regions.

        Raises UsageError when there is no such point, image or saved concept, and for regions in a collection that keeps no
        factors.
        """
        if isinstance(concept, Phrase):
            return self._remembered(concept, lambda: self.calibration.axis(direction_of(concept, self)))
        if not isinstance(concept, Anywhere):
            return self.calibration.axis(direction_of(concept, self))
        if isinstance(concept.concept, Phrase):
            return self._remembered(concept, lambda: self._regional(concept))
        return self._regional(concept)

    def whole(self, concept: Concept) -> Axis:
        """Calibrated direction of a concept that is a part of another. Raises UsageError for regions, too, which are none."""
        if isinstance(concept, Anywhere):
            raise UsageError(
                f"{unparse(concept)} is a maximum over places and no direction: no weight, RATHER THAN, OVER or other anywhere "
                "takes it; put those inside, or join it with AND, OR and NOT"
            )
        return self.axis(concept)

    @cached_property
    def reservoir(self) -> Reservoir:
        """Images with their factors, read when regions are first asked for."""
        return self.lookups.take_reservoir()

    def samples(self, axes: Sequence[Axis]) -> Array:
        """z-scores (n, m) of the same images with several axes: of the reservoir's, where one is of regions."""
        if any(axis.regions is not None for axis in axes):
            rows = self.reservoir.rows
            columns = [axis.z(cosines(rows, [axis])[:, 0]) if axis.regions is None else axis.sample for axis in axes]
            return np.stack(columns, axis=1)
        return np.array([axis.sample for axis in axes]).T.reshape(len(self.calibration.planning), len(axes))

    def joint(self, texts: tuple[str, ...]) -> Axis:
        """Calibrated direction of several texts at once: the mean of their sentences."""
        return self._remembered(texts, lambda: self.calibration.axis(self.texts.joint(texts)))

    def saved(self, name: str) -> SavedConcept:
        """Return a saved concept. Raises UsageError that names the nearest ones."""
        if name in self._saved:
            return self._saved[name]
        name = brief(name)
        near = get_close_matches(name, self._saved, n=3)
        known = f"did you mean @{' or @'.join(near)}?" if near else f"saved: {', '.join(self._saved) or 'none'}"
        raise UsageError(f"no concept is saved as @{name}; {known}")

    def _regional(self, concept: Anywhere) -> Axis:
        direction = direction_of(concept, self)
        return self.calibration.regional_axis(direction, self.reservoir.best(direction / np.linalg.norm(direction)))

    def _remembered(self, key: Concept | tuple[str, ...], make: Callable[[], Axis]) -> Axis:
        """Axis of a text or joint text, made when it is first asked for."""
        axis = self._axes.get(key)
        if axis is None:
            axis = make()
            self._axes.put(key, axis)
        return axis


@singledispatch
def direction_of(concept: Concept, directions: Directions) -> Array:
    """Direction (d,) float64, of any length but 0, of a concept: one function for each kind."""
    raise NotImplementedError(f"{type(concept).__name__} has no direction: register one here")


@direction_of.register
def _of_phrase(concept: Phrase, directions: Directions) -> Array:
    return directions.texts.vector(concept.text)


@direction_of.register
def _of_image(concept: Image, directions: Directions) -> Array:
    return directions.lookups.embed_image(concept.path).astype(np.float64)


@direction_of.register
def _of_shown_image(concept: ShownImage, directions: Directions) -> Array:
    return np.array(concept.direction, np.float64)


@direction_of.register
def _of_like(concept: Like, directions: Directions) -> Array:
    vector = directions.lookups.fetch(concept.id)
    if vector is None:
        raise UsageError(f"like({brief(concept.id)!r}): the collection has no image of that id")
    return vector.astype(np.float64)


@direction_of.register
def _of_saved(concept: Saved, directions: Directions) -> Array:
    return directions.saved(concept.name).direction


@direction_of.register
def _of_anywhere(concept: Anywhere, directions: Directions) -> Array:
    return directions.whole(concept.concept).direction


@direction_of.register
def _of_contrast(concept: Contrast, directions: Directions) -> Array:
    others = [directions.whole(other).direction for other in concept.alternatives]
    return _left(directions.whole(concept.concept).direction - np.mean(others, axis=0))


@direction_of.register
def _of_difference(concept: Difference, directions: Directions) -> Array:
    return _left(directions.whole(concept.concept).direction - directions.whole(concept.over).direction)


@direction_of.register
def _of_sum(concept: Sum, directions: Directions) -> Array:
    terms = [(term.weight, directions.whole(term.concept)) for term in concept.terms]
    return _left(np.sum([weight * axis.direction / axis.sd for weight, axis in terms], axis=0))


def _left(direction: Array) -> Array:
    """Return what a combination leaves. Raises UsageError when that is nothing."""
    if np.linalg.norm(direction) < 1e-6:
        raise UsageError("a contrast, difference or sum cancels itself out: nothing is left to search for")
    return direction
