"""A further kind of concept is a class with its syntax, an entry in KINDS, and its direction: nothing else knows the kinds."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
import pytest

from t2c_search.errors import ExpressionError
from t2c_search.query.execution.searcher import Wanted
from t2c_search.query.language.concepts import KINDS, Concept, Phrase, Sum, Syntax, Words
from t2c_search.query.language.constraints import And, Not, Threshold, as_filter, read_tree, write_tree
from t2c_search.query.language.parsed import Parsed, built, tokens, unquoted
from t2c_search.query.language.printer import unparse
from t2c_search.query.language.syntax import parse, parse_filter
from t2c_search.query.language.writing import ATOM, Written, quoted
from t2c_search.query.planning.calibration import Array
from t2c_search.query.planning.directions import Directions, direction_of
from t2c_search.stores import open_store

from .worlds import World, clustered


class Blur(Concept):
    """``blur("dog, cat")``: the mean direction of several words."""

    kind: Literal["blur"] = "blur"
    words: Words
    syntax: ClassVar[Syntax] = Syntax.called("blur")

    @classmethod
    def read(cls, tree: Parsed, reader: object) -> Self:
        (token,) = tokens(tree)
        return built(cls, token, words=unquoted(token))

    def write(self, parts: tuple[Written, ...]) -> Written:
        return Written(f"blur({quoted(self.words)})", ATOM)


@direction_of.register
def _of_blur(concept: Blur, directions: Directions) -> Array:
    return np.mean([directions.axis(Phrase(text=word)).direction for word in concept.words.split(", ")], axis=0)


@pytest.fixture
def known(monkeypatch) -> None:
    monkeypatch.setitem(KINDS, "blur", Blur)


@pytest.fixture(scope="module")
def world() -> World:
    return clustered(open_store(":memory:", "kinds"), 600)


BOTH = Blur(words="dog, cat")
EXPRESSION = 'blur("dog, cat") >= 1sd AND NOT "snow"'


def test_it_is_read_and_written_as_an_expression_and_as_json(known):
    tree = And(parts=(Threshold(concept=BOTH, value=1, unit="sd"), Not(part=Phrase(text="snow"))))
    assert parse(EXPRESSION) == read_tree(write_tree(tree)) == tree and unparse(tree) == EXPRESSION
    assert parse("blur(dog)") == Blur(words="dog")  # a sign that this is more than a text
    total = parse('2 * blur("dog, cat") - "snow"')
    assert isinstance(total, Sum) and list(total.find(Blur)) == [BOTH] and parse(unparse(total)) == total
    assert as_filter(tree) is None
    with pytest.raises(ExpressionError, match="the quotes are empty\n  blur"):
        parse('blur("")')
    with pytest.raises(ExpressionError, match="all.parts.0.threshold.concept.blur.words: Field required"):
        parse(
            {"kind": "all", "parts": [{"kind": "threshold", "concept": {"kind": "blur"}, "value": 1, "unit": "sd"}] * 2}
        )
    with pytest.raises(ExpressionError, match="texts belong in the query"):
        parse_filter(EXPRESSION)


def test_it_is_planned_and_searched(known, world):
    found = world.searcher.search(EXPRESSION, Wanted(10))
    assert found.plan.branches[0].constraints[0].constraint == 'blur("dog, cat") >= 1sd'
    dog, cat = (world.oracle.direction(Phrase(text=word)) for word in ("dog", "cat"))
    blurred = world.oracle.z((dog + cat) / np.linalg.norm(dog + cat))
    snow = world.oracle.z(world.oracle.direction(Phrase(text="snow")))
    assert len(found) == 10 and found.certificate.kind == "exact"
    assert all(hit.contributions[0].z == pytest.approx(blurred[world.oracle.ids.index(hit.id)]) for hit in found)
    assert {hit.id for hit in world.searcher.mine('blur("dog, cat") >= 1sd AND NOT "snow" >= 0.5sd')} == {
        point for point, z, other in zip(world.oracle.ids, blurred, snow, strict=True) if z >= 1 and other < 0.5
    }


def test_without_its_entry_it_is_a_text_like_any_other():
    assert parse("blur (dog)") == Phrase(text="blur (dog)")
    with pytest.raises(ExpressionError):
        parse('blur("dog") AND "cat"')
    with pytest.raises(ExpressionError, match="Input tag 'blur' found using 'kind' does not match"):
        parse({"kind": "blur", "words": "dog"})


def test_every_kind_has_its_direction_and_bears_its_name():
    for name, kind in KINDS.items():
        assert kind.model_fields["kind"].default == name
        assert direction_of.dispatch(kind) is not direction_of.dispatch(Concept), name
