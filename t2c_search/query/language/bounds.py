"""What an expression may cost: bounds far beyond what people write, so that what is beyond them is answered at once."""

from __future__ import annotations

from collections.abc import Sequence

from t2c_search.errors import ExpressionError, brief
from t2c_search.filters import Condition, Node, OneOf
from t2c_search.query.language.concepts import Concept, Phrase

MAX_CHARACTERS = 200_000
"""Of an expression."""
MAX_TEXT = 2_000
"""Characters of one text: CLIP models read the first few hundred."""
MAX_CONCEPTS = 100
"""Texts, images and saved concepts: each goes through a model, or is a direction to bound."""
MAX_CONDITIONS = 1_000
MAX_VALUES = 10_000
"""Of all IN together."""


def check_length(expression: str) -> None:
    """Raise ExpressionError for an expression that is too long to read, or has in it what is no character."""
    if len(expression) > MAX_CHARACTERS:
        raise ExpressionError(
            f"the expression has {len(expression)} characters, and at most {MAX_CHARACTERS} are read: "
            "write a shorter one, or ask in several queries",
            expression=expression,
        )
    check_characters(expression)


def check_characters(text: str) -> None:
    """Raise ExpressionError for half a character (a lone surrogate), which no model, store or file takes."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        message = f"{brief(text)!a} has half a character in it, at {exc.start + 1}: write it in UTF-8"
        raise ExpressionError(message, expression=text, position=exc.start) from None


def check_texts(texts: Sequence[str]) -> None:
    """Raise ExpressionError for texts that are too many, or too long for any model to read."""
    if len(texts) > MAX_CONCEPTS:
        raise ExpressionError(f"{len(texts)} texts are too many: at most {MAX_CONCEPTS} are taken together")
    for text in texts:
        check_characters(text)
        if len(text) > MAX_TEXT:
            raise ExpressionError(
                f"a text of {len(text)} characters is too long, at most {MAX_TEXT} are read: {brief(text)!r}"
            )


def check_cost(tree: Node) -> None:
    """Raise ExpressionError for a tree that would take minutes to answer, or has in it what is no character."""
    nodes = list(tree.find(Node))
    concepts = [node for node in nodes if isinstance(node, Concept) and not any(node.children())]
    conditions = [node for node in nodes if isinstance(node, Condition)]
    for what, number, most in (
        ("texts, images and concepts", len(concepts), MAX_CONCEPTS),
        ("conditions", len(conditions), MAX_CONDITIONS),
        ("values in IN", sum(len(node.values) for node in conditions if isinstance(node, OneOf)), MAX_VALUES),
    ):
        if number > most:
            message = (
                f"the expression has {number} {what}, and at most {most} are asked together: ask in several queries"
            )
            raise ExpressionError(message)
    check_texts([concept.text for concept in concepts if isinstance(concept, Phrase)])
    for node in nodes:
        for value in vars(node).values():
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, str):
                    check_characters(each)
