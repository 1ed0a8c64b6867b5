"""Concepts to directions: prompts, joint sentences, images, stored points, saved concepts and what is made of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches

import numpy as np

from t2c_search.errors import UsageError
from t2c_search.query.language.constraints import Concept, Contrast, Difference, Image, Like, Phrase, Saved, Sum
from t2c_search.query.planning.calibration import Array, Axis, Calibration
from t2c_search.state.concepts import SavedConcept
from t2c_search.types import FloatArray

EmbedTexts = Callable[[Sequence[str]], FloatArray]
"""n texts to unit rows (n, d) float32."""
EmbedImage = Callable[[str], FloatArray]
"""An image file to its unit vector (d,) float32."""
FetchVector = Callable[[str], FloatArray | None]
"""A point's id to its unit vector (d,) float32, or None when there is no such point."""

PROMPTS = ("{}", "a {}", "the {}")
"""A text's direction is the mean over these, which follow from what is left of it without ``_LEAD``: "a dog", "the dog" and
"dog" mean the same. Against other wordings they help little; several texts for a concept do (``benchmarks.paraphrase``)."""
JOINERS = (", ", " and ")
"""How texts that must hold together are put into one sentence: commas rank better than most conjunctions."""
CACHED_TEXTS, CACHED_AXES = 4096, 512

_LEAD = re.compile(
    r"^(?:(?:(?:an?|the)\s+)?(?:photo|picture|image|photograph)s?\s+(?:of|with|showing)\s+|there\s+(?:is|are)\s+)?"
    r"(?:(?:an?|the)\s+)?(?=\S)",
    re.IGNORECASE,
)
"""What people put before the thing itself."""


class Concepts:
    """What concepts are made from: the models, the collection's vectors and the saved concepts.

    A text is embedded together with the other ways of putting it, and remembered. No other text is in that batch: its
    size shows in a vector's last digits, and a text must mean the same alone and among others. ``free_text`` False is for
    text encoders of a closed vocabulary: texts are embedded as typed, and never joined.
    """

    def __init__(
        self,
        embed_texts: EmbedTexts,
        embed_image: EmbedImage,
        fetch: FetchVector,
        saved: Mapping[str, SavedConcept],
        free_text: bool,
    ) -> None:
        self.embed_image = embed_image
        self.fetch = fetch
        self.free_text = free_text
        self._embed_texts = embed_texts
        self._saved = saved
        self._remembered: dict[tuple[str, ...], Array] = {}
        self.axes: dict[Concept | tuple[str, ...], Axis] = {}
        """Of texts and joint texts, which are asked for again and again."""

    def directions(
        self, calibration: Calibration, concepts: Iterable[Concept], joints: Iterable[tuple[str, ...]] = ()
    ) -> Directions:
        """Embed every text that these concepts and joint texts need, and return their directions."""
        batches = [tuple(self.prompts(phrase)) for concept in concepts for phrase in phrases_of(concept)]
        return Directions(self, calibration, self._means([*batches, *map(sentences, joints)]))

    def worded(self, wordings: Sequence[str]) -> Array:
        """Unit direction (d,) float64 of one thing put in several wordings: the mean of theirs, a paraphrase ensemble.

        Raises UsageError for an empty one.
        """
        if not all(wording.strip() for wording in wordings):
            raise UsageError("one of the texts for the concept is empty: leave it out, or say what it shows")
        batches = [tuple(self.prompts(wording)) for wording in wordings]
        means = self._means(batches)
        found: Array = np.mean([means[batch] / np.linalg.norm(means[batch]) for batch in batches], axis=0)
        unit: Array = found / np.linalg.norm(found)
        return unit

    def prompts(self, text: str) -> list[str]:
        """Put a text in every way that its direction is the mean of."""
        return [prompt.format(_LEAD.sub("", text.strip())) for prompt in PROMPTS] if self.free_text else [text]

    def _means(self, batches: Sequence[tuple[str, ...]]) -> Mapping[tuple[str, ...], Array]:
        """Embed each batch of texts that is not remembered, and return the batches' means (d,)."""
        known = self._remembered if len(self._remembered) < CACHED_TEXTS else {}
        new = [batch for batch in dict.fromkeys(batches) if batch not in known]
        means = [self._embed_texts(batch).astype(np.float64).mean(axis=0) for batch in new]
        if new:
            known = {**known, **dict(zip(new, means, strict=True))}
            self._remembered = known
        return known

    def saved(self, name: str) -> SavedConcept:
        """Return a saved concept. Raises UsageError that names the nearest ones."""
        if name in self._saved:
            return self._saved[name]
        near = get_close_matches(name, self._saved, n=3)
        known = f"did you mean @{' or @'.join(near)}?" if near else f"saved: {', '.join(self._saved) or 'none'}"
        raise UsageError(f"no concept is saved as @{name}; {known}")


class Directions:
    """The directions of one query's concepts, whose texts are embedded already."""

    def __init__(self, concepts: Concepts, calibration: Calibration, texts: Mapping[tuple[str, ...], Array]) -> None:
        self._concepts = concepts
        self._calibration = calibration
        self._texts = texts

    def axis(self, concept: Concept) -> Axis:
        """Calibrated direction of a concept. Raises UsageError when there is no such point, image or saved concept."""
        if isinstance(concept, Phrase):
            return self._remembered(concept, tuple(self._concepts.prompts(concept.text)))
        return self._calibration.axis(self._direction(concept))

    def joint(self, texts: tuple[str, ...]) -> Axis:
        """Calibrated direction of several texts at once: the mean of their sentences."""
        return self._remembered(texts, sentences(texts))

    def _direction(self, concept: Concept) -> Array:
        found: Array
        match concept:
            case Phrase():
                return self.axis(concept).direction
            case Image():
                return self._concepts.embed_image(concept.path).astype(np.float64)
            case Like():
                return self._stored(concept.id)
            case Saved():
                return self._concepts.saved(concept.name).direction
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
        vector = self._concepts.fetch(point)
        if vector is None:
            raise UsageError(f"like({point!r}): the collection has no image of that id")
        return vector.astype(np.float64)

    def _remembered(self, key: Phrase | tuple[str, ...], batch: tuple[str, ...]) -> Axis:
        """Axis of the mean of a batch of texts, remembered with the concepts."""
        known = self._concepts.axes
        if key not in known:
            axis = self._calibration.axis(self._texts[batch])
            known = {**(known if len(known) < CACHED_AXES else {}), key: axis}
            self._concepts.axes = known
        return known[key]


def phrases_of(concept: Concept) -> list[str]:
    """List the texts that a concept is made of."""
    match concept:
        case Phrase():
            return [concept.text]
        case Contrast():
            return [text for part in (concept.concept, *concept.alternatives) for text in phrases_of(part)]
        case Difference():
            return phrases_of(concept.concept) + phrases_of(concept.over)
        case Sum():
            return [text for term in concept.terms for text in phrases_of(term.concept)]
        case _:
            return []


def sentences(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Put texts into one sentence each way: every joining word, every rotation of their order."""
    rotations = [texts[start:] + texts[:start] for start in range(len(texts))]
    return tuple(joiner.join(rotation) for joiner in JOINERS for rotation in rotations)
