"""What is really in a drawn scene, and whether a phrase or a constraint tree is true of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
import numpy.typing as npt

from t2c_search.demo import words
from t2c_search.errors import UsageError
from t2c_search.query.language import concepts, constraints
from t2c_search.query.language.constraints import Constraint


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """One object of a scene, by canonical names.

    ``box`` is (left, top, right, bottom) in pixels, right and bottom exclusive; ``mask``, bool and of the image's height
    and width, is what shows.
    """

    shape: str
    colour: str
    fill: str
    size: str
    box: tuple[int, int, int, int]
    mask: npt.NDArray[np.bool_]

    def stands(self, relation: str, other: Thing) -> bool:
        """Whether this object lies wholly left of, right of, above or below the other: their boxes do not overlap there."""
        left, top, right, bottom = self.box
        return {
            "left of": right <= other.box[0],
            "right of": other.box[2] <= left,
            "above": bottom <= other.box[1],
            "below": other.box[3] <= top,
        }[relation]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A description of objects; None leaves an attribute open, ``count`` None means at least one."""

    shape: str | None = None
    colour: str | None = None
    fill: str | None = None
    size: str | None = None
    count: int | None = None

    def fits(self, thing: Thing) -> bool:
        """Whether the object has every attribute that is asked for."""
        wanted = (
            (self.shape, thing.shape),
            (self.colour, thing.colour),
            (self.fill, thing.fill),
            (self.size, thing.size),
        )
        return all(name is None or name == has for name, has in wanted)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a phrase says: some objects, for two of them perhaps how they stand, and a background.

    A pattern with a count is the only one.
    """

    patterns: tuple[Pattern, ...] = ()
    relation: str | None = None
    background: str | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """What is in one scene: its background and its one to four objects, in no meaningful order."""

    background: str
    things: tuple[Thing, ...]

    def matches_text(self, text: str) -> bool:
        """Whether a phrase of the drawn world is true of this scene.

        ``a red circle``: at least one; ``two squares``: exactly two; objects joined by ``and`` are different ones.
        Raises UsageError for a phrase outside the world's grammar (see ``read``).
        """
        return self.satisfies(read(text))

    def matches(self, tree: Constraint) -> bool:
        """Whether a constraint tree is true of this scene: its phrases by ``matches_text``, then logic.

        A threshold is as true as its concept, and so is a contrast, whatever its alternatives. Every part is read, also
        where another part has decided: raises UsageError for a phrase outside the world's grammar wherever it stands, and
        for what has no truth here: images, saved concepts, sums, differences and conditions on the payload.
        """
        match tree:
            case concepts.Phrase():
                return self.matches_text(tree.text)
            case constraints.Threshold():
                return self.matches(tree.concept)
            case concepts.Contrast():
                concept, *_ = [self.matches(part) for part in (tree.concept, *tree.alternatives)]
                return concept
            case constraints.And():
                truths = [self.matches(part) for part in tree.parts]
                return all(truths)
            case constraints.Or():
                truths = [self.matches(part) for part in tree.parts]
                return any(truths)
            case constraints.Not():
                return not self.matches(tree.part)
            case _:
                raise UsageError(f"a drawn scene has no truth for a '{tree.kind}'; use phrases with AND, OR and NOT")

    def satisfies(self, statement: Statement) -> bool:
        """Whether the statement is true of this scene."""
        if statement.background not in (None, self.background):
            return False
        patterns = statement.patterns
        if patterns and patterns[0].count is not None:
            return sum(map(patterns[0].fits, self.things)) == patterns[0].count
        return any(self._stand(statement, things) for things in permutations(self.things, len(patterns)))

    def _stand(self, statement: Statement, things: tuple[Thing, ...]) -> bool:
        fitting = all(pattern.fits(thing) for pattern, thing in zip(statement.patterns, things, strict=True))
        return fitting and (statement.relation is None or things[0].stands(statement.relation, things[1]))


@lru_cache(maxsize=4096)
def read(text: str) -> Statement:
    """Read a phrase of the drawn world.

        phrase     = [opening] [objects] [background]        "a picture of two stars on grass", "at night"
        objects    = count looks | object {"and" object} | object relation object
        object     = [article] looks
        looks      = {size | fill | colour} noun
        relation   = "left of" | "right of" | "above" | "below" and synonyms

    A comma is an "and". Raises UsageError for anything else, with the word that was not understood, or because objects are
    counted beside others.
    """
    rest = " ".join(text.lower().replace(", and ", " and ").replace(",", " and ").split()).rstrip(".!?")
    for opening in words.OPENINGS:
        rest = rest.removeprefix(opening + " ")
    rest, background = _split_background(rest)
    if not rest:
        if background is None:
            raise UsageError("an empty phrase says nothing about a scene; write for example 'a red circle on grass'")
        return Statement(background=background)
    for relation, synonyms in words.RELATIONS.items():
        for synonym in sorted(synonyms, key=len, reverse=True):
            first, found, second = rest.partition(f" {synonym} ")
            if found:
                return Statement(_patterns((first, second), text), relation, background)
    return Statement(_patterns(rest.split(" and "), text), None, background)


def _split_background(text: str) -> tuple[str, str | None]:
    """Cut a background phrase off the end."""
    for name, phrases in words.BACKGROUNDS.items():
        for phrase in phrases:
            if text == phrase or text.endswith(" " + phrase):
                return text[: len(text) - len(phrase)].strip(), name
    return text, None


def _singulars(nouns: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for name, synonyms in nouns.items():
        for synonym in synonyms:
            yield synonym, name
            yield words.plural(synonym), name


NOUNS: dict[str, str | None] = {
    **dict(_singulars(words.SHAPES)),
    **dict.fromkeys(words.ANYTHING),
    **dict.fromkeys(map(words.plural, words.ANYTHING)),
}


def _patterns(phrases: Iterable[str], text: str) -> tuple[Pattern, ...]:
    """Read the objects of a phrase; ``text`` is the whole of it, for the message."""
    patterns = tuple(_pattern(phrase, text) for phrase in phrases)
    if len(patterns) > 1 and any(pattern.count is not None for pattern in patterns):
        raise UsageError(f"{text!r} counts objects beside others; a count stands alone, as in 'two squares on grass'")
    return patterns


def _pattern(phrase: str, text: str) -> Pattern:
    """Read one ``object`` of the grammar; ``text`` is the whole phrase, for the message."""
    *before, noun = phrase.split() or [""]
    if noun not in NOUNS:
        raise UsageError(
            f"'{noun}' in '{text}' is no shape of the drawn world; known: {', '.join(words.SHAPES)}, object"
        )
    found: dict[str, str] = {}
    count: int | None = None
    for place, word in enumerate(before):
        number = next((n for n, names in words.COUNTS.items() if word in names), None)
        if place == 0 and (number is not None or word in words.ARTICLES):
            count = number
            continue
        kinds = {"colour": words.COLOURS, "fill": words.FILLS, "size": words.SIZES}
        kind, name = next(
            ((kind, name) for kind, names in kinds.items() if (name := words.canonical(names, word))), ("", None)
        )
        if name is None or kind in found:
            strange = next((later for later in before[place:] if later not in NOUNS), word)
            raise UsageError(f"'{strange}' in '{text}' is not understood; write [count] [size] [fill] [colour] shape")
        found[kind] = name
    return Pattern(NOUNS[noun], found.get("colour"), found.get("fill"), found.get("size"), count)
