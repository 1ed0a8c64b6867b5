"""What phrases mean, on a scene written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from t2c_search.demo.truth import Thing, Truth, read
from t2c_search.errors import UsageError
from t2c_search.query.language.concepts import Contrast, Image, Phrase
from t2c_search.query.language.constraints import And, Not, Or, Threshold


def thing(colour: str, shape: str, x: int, y: int, fill: str = "plain", size: str = "small") -> Thing:
    mask = np.zeros((96, 96), bool)
    mask[y : y + 10, x : x + 10] = True
    return Thing(shape, colour, fill, size, (x, y, x + 10, y + 10), mask)


SCENE = Truth(
    "grass",
    (
        thing("red", "circle", 5, 40),
        thing("blue", "square", 40, 10, fill="striped"),
        thing("red", "square", 45, 60, fill="dotted", size="large"),
    ),
)


@pytest.mark.parametrize(
    "phrase",
    [
        "a red circle",
        "A crimson disc.",
        "circle",
        "circles",
        "a square",
        "two squares",
        "2 boxes",
        "one circle",
        "three objects",
        "two red things",
        "on grass",
        "in a meadow",
        "a picture of a stripy azure box on a lawn",
        "a huge spotted red square",
        "a circle and a square",
        "a circle, a square, and a square",
        "There is a circle on grass!",
        "two squares on grass?",
        "a square and a square",
        "a red object and a square",
        "a circle left of a square",
        "a circle to the left of a blue square",
        "a blue square right of a circle",
        "a blue square above a red square on grass",
        "a red square below the circle",
    ],
)
def test_true_phrases(phrase: str) -> None:
    assert SCENE.matches_text(phrase)


@pytest.mark.parametrize(
    "phrase",
    [
        "a blue circle",
        "a star",
        "three squares",
        "one square",
        "two objects",
        "at night",
        "a red circle at night",
        "a striped red square",
        "a small dotted square",
        "a circle and a circle",
        "a blue square and a striped square",
        "a square left of a circle",
        "a blue square left of a red square",  # their boxes overlap from left to right
        "a circle above a blue square",
    ],
)
def test_false_phrases(phrase: str) -> None:
    assert not SCENE.matches_text(phrase)


@pytest.mark.parametrize(
    "phrase", ["a cat", "red", "a red blue circle", "a circle near a square", "a circle and", "and"]
)
def test_phrases_outside_the_grammar_are_refused(phrase: str) -> None:
    with pytest.raises(UsageError):
        read(phrase)


@pytest.mark.parametrize(
    "phrase",
    [
        "two squares left of a circle",
        "a circle left of two squares",
        "one blue square above a red square",
        "a circle and two squares",
        "one circle and a red object",
        "two circles, two squares",
    ],
)
def test_a_count_beside_another_object_is_refused(phrase: str) -> None:
    with pytest.raises(UsageError, match="counts objects beside others; a count stands alone"):
        SCENE.matches_text(phrase)


@pytest.mark.parametrize(
    ("phrase", "word"),
    [("a circle with a square", "with"), ("a circle near a square", "near"), ("a red blue circle", "blue")],
)
def test_the_word_that_is_not_understood_is_named(phrase: str, word: str) -> None:
    with pytest.raises(UsageError, match=f"'{word}' in '{phrase}'"):
        read(phrase)


def test_relations_are_each_others_opposites() -> None:
    first, second = SCENE.things[0], SCENE.things[1]
    assert first.stands("left of", second) == second.stands("right of", first)
    assert first.stands("above", second) == second.stands("below", first)
    assert first.stands("left of", second)
    assert not second.stands("left of", first)


def test_a_tree_is_logic_over_its_phrases() -> None:
    circle, star, grass = (Phrase(text=text) for text in ("a circle", "a star", "on grass"))
    assert SCENE.matches(circle)
    assert not SCENE.matches(star)
    assert SCENE.matches(And(parts=(circle, grass)))
    assert not SCENE.matches(And(parts=(circle, star)))
    assert SCENE.matches(Or(parts=(circle, star)))
    assert SCENE.matches(And(parts=(circle, Not(part=star))))
    assert not SCENE.matches(Not(part=Or(parts=(circle, star))))
    assert SCENE.matches(Threshold(concept=circle, value=2, unit="sd"))


@pytest.mark.parametrize("known", ["a circle", "a star"])  # true, false
def test_an_unknown_word_is_refused_wherever_it_stands(known: str) -> None:
    parts = [Phrase(text=known), Phrase(text="a cat")]
    for one, other in (parts, parts[::-1]):
        for tree in (And(parts=(one, other)), Or(parts=(one, other)), Contrast(concept=one, alternatives=(other,))):
            with pytest.raises(UsageError, match="'cat'"):
                SCENE.matches(tree)


def test_a_contrast_is_as_true_as_its_concept() -> None:
    circle, star = Phrase(text="a circle"), Phrase(text="a star")
    assert SCENE.matches(Contrast(concept=circle, alternatives=(star,)))
    assert not SCENE.matches(Contrast(concept=star, alternatives=(circle,)))


def test_a_tree_without_a_truth_is_refused() -> None:
    with pytest.raises(UsageError, match="no truth for a 'image'"):
        SCENE.matches(Image(path="x.jpg"))
