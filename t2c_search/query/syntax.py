"""Expression strings to constraint trees.

An expression in which no syntax occurs (no quote, operator, ``@name``, ``image(...)``, payload comparison or upper-case
keyword) is one text: ``a dog and a man running``. Otherwise unquoted words are texts up to the next keyword, whatever
its case: ``dog AND cat`` means ``"dog" AND "cat"``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark, Tree, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from t2c_search.errors import ExpressionError
from t2c_search.filters import Filter
from t2c_search.query.constraints import Constraint, Phrase, as_filter, read_tree
from t2c_search.query.reader import Misread, TreeReader

_SYNTAX = re.compile(
    r"""["“”<>=~*{}] | (?<!\w)' | (?:^|\s)[-+@] | \b(?:AND|OR|NOT|OVER|RATHER\s+THAN)\b
    | (?i:\btop\s*[\d.]+\s*%) | (?i:\b(?:image|like)\s*\()
    | (?:^|\()\s*[^\W\d][\w.-]*\s+(?i:(?:not\s+)?in\s*\(|between\s+\d|exists\s*$|within\s+[\d.])""",
    re.VERBOSE,
)
"""What makes an expression more than one text."""
_COMMENT = re.compile(r"(?:^|\s)#.*")

_EXPECTED = {
    "STRING": "a text in quotes",
    "FIELD": "a payload comparison (width >= 1024)",
    "_AND": "AND",
    "_OR": "OR",
    "COMPARE": ">= or <",
    "EQUAL": "=",
    "SIGMAS": "standard deviations (2sd)",
    "NUMBER": "a number",
    "PERCENT": "a percentage (5%)",
    "DATE": "a date",
    "WORD": "a value",
    "LENGTH": "km, m or mi",
    "_OF": "OF",
    "LPAR": '"("',
    "RPAR": '")"',
    "COMMA": '","',
    "$END": "the end",
}
"""How an error names what may come next, in this order; the terminals left out would only lengthen the list."""


def parse(expression: str | Mapping[str, Any], *, fields: Collection[str] | None = None) -> Constraint:
    """Read an expression, its JSON tree or Marqo's ``{text: weight}`` into the same constraint tree.

    ``fields`` are the payload fields there are; without them any name passes. Raises ExpressionError that shows the
    line, points at the character and says what was expected there.
    """
    if isinstance(expression, Mapping):
        return read_tree(dict(expression))
    if expression.lstrip().startswith("{"):
        return read_tree(_json(expression))
    if _SYNTAX.search(expression):
        return _read(expression, TreeReader(fields, meanings=True))
    text = _COMMENT.sub("", expression).strip()
    if not text:
        raise ExpressionError('the expression is empty: type a text, or conditions such as "a dog" AND width >= 1024')
    return Phrase(text=text)


def parse_filter(expression: str, *, fields: Collection[str] | None = None) -> Filter:
    """Read conditions on the payload alone, such as ``width >= 1024 AND camera IN ("X100", "A7")``.

    Raises ExpressionError as ``parse`` does, and where the expression asks for a meaning.
    """
    if not expression.strip():
        raise ExpressionError("the filter is empty: type conditions such as width >= 1024")
    found = as_filter(_read(expression, TreeReader(fields, meanings=False)))
    assert found is not None  # the reader refuses meanings
    return found


def _json(expression: str) -> Any:
    try:
        return json.loads(expression)
    except json.JSONDecodeError as exc:
        raise ExpressionError(_pointed(f"not valid JSON: {exc.msg}", expression, exc.pos)) from exc
    except RecursionError as exc:
        raise ExpressionError("the JSON constraint tree is nested too deeply to be read") from exc


def _read(expression: str, reader: TreeReader) -> Constraint:
    try:
        (tree,) = _parser().parse(expression).children
        assert isinstance(tree, Tree)  # every alternative of the start rule is one
        return reader.read(tree)
    except UnexpectedInput as exc:
        raise ExpressionError(_pointed(*_complaint(expression, exc))) from exc
    except Misread as exc:
        raise ExpressionError(_pointed(str(exc), expression, exc.position)) from exc
    except RecursionError as exc:
        raise ExpressionError("the expression is nested too deeply to be read") from exc


@cache
def _parser() -> Lark:
    grammar = files("t2c_search.query").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", propagate_positions=True)


def _complaint(expression: str, error: UnexpectedInput) -> tuple[str, str, int]:
    """What is wrong, the expression, and the offset where."""
    if isinstance(error, UnexpectedToken):
        expected = error.accepts or error.expected
        at_end = error.token.type == "$END"
        position = len(expression.rstrip()) if at_end else error.token.start_pos or 0
        if error.token.type == "RPAR" and "$END" in expected:
            return 'this ")" closes nothing', expression, position
        return f"expected {_listed(expected)}", expression, position
    position = error.pos_in_stream or 0
    if expression[position] in "\"'“":
        return "this quote is not closed", expression, position
    expected = error.allowed if isinstance(error, UnexpectedCharacters) else set()
    return f"expected {_listed(expected)}", expression, position


def _listed(terminals: Collection[str]) -> str:
    *others, last = [name for terminal, name in _EXPECTED.items() if terminal in terminals]
    return f"{', '.join(others)} or {last}" if others else last


def _pointed(message: str, expression: str, position: int) -> str:
    """The message, the line it is about and a caret under the character."""
    start = expression.rfind("\n", 0, position) + 1
    line = expression[start:].split("\n", 1)[0].expandtabs(1)
    return f"{message}\n  {line}\n  {' ' * (position - start)}^"
