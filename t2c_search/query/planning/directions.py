"""Concepts to directions: texts, joint sentences, images, stored points, saved concepts and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

import numpy as np

from t2c_search.errors import UsageError
from t2c_search.query.language.constraints import Concept, Contrast, Difference, Image, Like, Phrase, Saved, Sum
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
        self._embed_image = embed_image
        self._fetch = fetch
        self._saved = saved
        self._axes: Remembered[Phrase | tuple[str, ...], Axis] = Remembered(CACHED_AXES)

    def axis(self, concept: Concept) -> Axis:
        """Calibrated direction of a concept. Raises UsageError when there is no such point, image or saved concept."""
        if isinstance(concept, Phrase):
            return self._remembered(concept, lambda: self.texts.vector(concept.text))
        return self.calibration.axis(self._direction(concept))

    def joint(self, texts: tuple[str, ...]) -> Axis:
        """Calibrated direction of several texts at once: the mean of their sentences."""
        return self._remembered(texts, lambda: self.texts.joint(texts))

    def saved(self, name: str) -> SavedConcept:
        """Return a saved concept. Raises UsageError that names the nearest ones."""
        if name in self._saved:
            return self._saved[name]
        near = get_close_matches(name, self._saved, n=3)
        known = f"did you mean @{' or @'.join(near)}?" if near else f"saved: {', '.join(self._saved) or 'none'}"
        raise UsageError(f"no concept is saved as @{name}; {known}")

    def _direction(self, concept: Concept) -> Array:
        found: Array
        match concept:
            case Phrase():
                return self.axis(concept).direction
            case Image():
                return self._embed_image(concept.path).astype(np.float64)
            case Like():
                return self._stored(concept.id)
            case Saved():
                return self.saved(concept.name).direction
            case Contrast():
                others = [self.axis(other).direction for other in concept.alternatives]
                found = self.axis(concept.concept).direction - np.mean(others, axis=0)
            case Difference():
                found = self.axis(concept.concept).direction - self.axis(concept.over).direction
            case Sum():
                terms = [(term.weight, self.axis(term.concept)) for term in concept.terms]
                found = np.sum([weight * axis.direction / axis.sd for weight, axis in terms], axis=0)
        if np.linalg.norm(found) < 1e-6:
            raise UsageError("a contrast, difference or sum cancels itself out: nothing is left to search for")
        return found

    def _stored(self, point: str) -> Array:
        vector = self._fetch(point)
        if vector is None:
            raise UsageError(f"like({point!r}): the collection has no image of that id")
        return vector.astype(np.float64)

    def _remembered(self, key: Phrase | tuple[str, ...], vector: Callable[[], Array]) -> Axis:
        """Axis of a text or joint text, made when it is first asked for."""
        axis = self._axes.get(key)
        if axis is None:
            axis = self.calibration.axis(vector())
            self._axes.put(key, axis)
        return axis
