"""Concepts to directions: texts, joint sentences, images, stored points, saved concepts and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import singledispatch

import numpy as np

from t2c_search.errors import UsageError, brief
from t2c_search.query.language.concepts import (
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
from t2c_search.query.planning.calibration import Array, Axis, Calibration
from t2c_search.query.planning.remembered import Remembered
from t2c_search.query.planning.texts import Texts
from t2c_search.state.concepts import SavedConcept
from t2c_search.types import FloatArray

EmbedImage = Callable[[str], FloatArray]
"""An image file to its unit vector (d,) float32."""
FetchVector = Callable[[str], FloatArray | None]
"""A point's id to its unit vector (d,) float32, or None when there is no such point."""

CACHED_AXES = 512


class Directions:
    """The calibrated directions of concepts in one collection.

    They are made of texts, of images and points by their vectors, and of the saved concepts. Axes of texts, which are asked
    for again and again, are remembered.
    """

    def __init__(
        self,
        calibration: Calibration,
        texts: Texts,
        embed_image: EmbedImage,
        fetch: FetchVector,
        saved: Mapping[str, SavedConcept],
    ) -> None:
        self.calibration = calibration
        self.texts = texts
        self.embed_image = embed_image
        self.fetch = fetch
        self._saved = saved
        self._axes: Remembered[Phrase | tuple[str, ...], Axis] = Remembered(CACHED_AXES)

    def axis(self, concept: Concept) -> Axis:
        """Calibrated direction of a concept. Raises UsageError when there is no such point, image or saved concept."""
        if isinstance(concept, Phrase):
            return self._remembered(concept, lambda: direction_of(concept, self))
        return self.calibration.axis(direction_of(concept, self))

    def joint(self, texts: tuple[str, ...]) -> Axis:
        """Calibrated direction of several texts at once: the mean of their sentences."""
        return self._remembered(texts, lambda: self.texts.joint(texts))

    def saved(self, name: str) -> SavedConcept:
        """Return a saved concept. Raises UsageError that names the nearest ones."""
        if name in self._saved:
            return self._saved[name]
        name = brief(name)
        near = get_close_matches(name, self._saved, n=3)
        known = f"did you mean @{' or @'.join(near)}?" if near else f"saved: {', '.join(self._saved) or 'none'}"
        raise UsageError(f"no concept is saved as @{name}; {known}")

    def _remembered(self, key: Phrase | tuple[str, ...], vector: Callable[[], Array]) -> Axis:
        """Axis of a text or joint text, made when it is first asked for."""
        axis = self._axes.get(key)
        if axis is None:
            axis = self.calibration.axis(vector())
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
    return directions.embed_image(concept.path).astype(np.float64)


@direction_of.register
def _of_shown_image(concept: ShownImage, directions: Directions) -> Array:
    return np.array(concept.direction, np.float64)


@direction_of.register
def _of_like(concept: Like, directions: Directions) -> Array:
    vector = directions.fetch(concept.id)
    if vector is None:
        raise UsageError(f"like({brief(concept.id)!r}): the collection has no image of that id")
    return vector.astype(np.float64)


@direction_of.register
def _of_saved(concept: Saved, directions: Directions) -> Array:
    return directions.saved(concept.name).direction


@direction_of.register
def _of_contrast(concept: Contrast, directions: Directions) -> Array:
    others = [directions.axis(other).direction for other in concept.alternatives]
    return _left(directions.axis(concept.concept).direction - np.mean(others, axis=0))


@direction_of.register
def _of_difference(concept: Difference, directions: Directions) -> Array:
    return _left(directions.axis(concept.concept).direction - directions.axis(concept.over).direction)


@direction_of.register
def _of_sum(concept: Sum, directions: Directions) -> Array:
    terms = [(term.weight, directions.axis(term.concept)) for term in concept.terms]
    return _left(np.sum([weight * axis.direction / axis.sd for weight, axis in terms], axis=0))


def _left(direction: Array) -> Array:
    """Return what a combination leaves. Raises UsageError when that is nothing."""
    if np.linalg.norm(direction) < 1e-6:
        raise UsageError("a contrast, difference or sum cancels itself out: nothing is left to search for")
    return direction
