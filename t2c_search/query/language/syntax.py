"""Expression strings to constraint trees.

An expression in which no syntax occurs (no quote, operator, ``@name``, ``image(...)``, comparison of a known payload
field or upper-case keyword) is one text: ``a dog and a man running``, ``a man between 2 cars``. Otherwise unquoted words
are texts up to the next keyword, whatever its case: ``dog AND cat`` means ``"dog" AND "cat"``.
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
from t2c_search.filters import Condition, Filter
from t2c_search.query.language.bounds import check_cost, check_length
from t2c_search.query.language.concepts import Concept, Phrase, keywords, kinds
from t2c_search.query.language.constraints import (
    TOO_DEEP,
    And,
    Constraint,
    as_constraint,
    as_filter,
    read_filter,
    read_tree,
)
from t2c_search.query.language.parsed import Misread
from t2c_search.query.language.printer import unparse_field
from t2c_search.query.language.reader import NO_MEANINGS, TreeReader, is_known, unknown_field

_SIGNS = r"""["“”<>=~*{}] | (?<!\w)['`] | \b(?:AND|OR|NOT|EXISTS|CONTAINS|GLOB|STARTS\s+WITH)\b
    | \bIN\s*\( | \bBETWEEN\s+-?\d | \bWITHIN\s+[\d.] | \bTOP\s*[\d.]+\s*%
    | (?<![\w)])\b(?!the\b)[\w)]+\s+top\s*[\d.]+\s*%\s*(?:$|\)|\#)"""
"""What makes an expression more than one text, beside the signs of concepts."""
_COMPARED = re.compile(
    r"""(?:^|\()\s*([^\W\d][\w.-]*)\s+
    (?:(?:not\s+)?in\s*\(|between\s+-?\d|exists\s*(?:\)|\#|$|(?:and|or)\b)|within\s+[\d.])""",
    re.VERBOSE | re.IGNORECASE,
)
"""A word that words compare, which makes syntax of them where it is a payload field: ``width between 3 and 5``."""
_COMMENT = re.compile(r"(?:^|\s)#.*")

_NEAR = 60  # characters that an error shows on either side of the wrong one

_EXPECTED = {
    "STRING": "a text in quotes",
    "FIELD": "a payload comparison (width >= 1024)",
    "_AND": "AND",
    "_OR": "OR",
    "COMPARE": ">= or <",
    "EQUAL": "=",
    "_IN": "IN",
    "_STARTS_WITH": "STARTS WITH",
    "_CONTAINS": "CONTAINS",
    "_GLOB": "GLOB",
    "SIGMAS": "standard deviations (2sd)",
    "NUMBER": "a number",
    "PERCENT": "a percentage (5%)",
    "DATE": "a date",
    "WORD": "a value",
    "DISTANCE": "a distance (5 km)",
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
        return _known(read_tree(dict(expression)), fields)
    check_length(expression)
    if expression.lstrip().startswith("{"):
        return _known(read_tree(_json(expression)), fields)
    if _syntax(kinds()).search(expression) or any(
        is_known(found[1], fields or ()) for found in _COMPARED.finditer(expression)
    ):
        return _read(expression, TreeReader(fields, meanings=True))
    text = _COMMENT.sub("", expression).strip()
    if not text:
        message = 'the expression is empty: type a text, or conditions such as "a dog" AND width >= 1024'
        raise ExpressionError(message, expression=expression)
    return Phrase(text=text)


def parse_filter(expression: str, *, fields: Collection[str] | None = None) -> Filter:
    """Read conditions on the payload alone, such as ``width >= 1024 AND camera ~ "X100V"``, or their JSON tree.

    Raises ExpressionError as ``parse`` does, and where the expression asks for a meaning.
    """
    check_length(expression)
    if not expression.strip():
        raise ExpressionError("the filter is empty: type conditions such as width >= 1024", expression=expression)
    if expression.lstrip().startswith("{"):
        content = _json(expression)
        if (written := read_filter(content)) is not None:
            _known(as_constraint(written), fields)
            return written
        tree = parse(content, fields=fields)
    else:
        tree = _read(expression, TreeReader(fields, meanings=False))
    found = as_filter(tree)
    if found is None:  # a JSON tree; the reader itself points at the first meaning
        raise ExpressionError(NO_MEANINGS, expression=expression)
    return found


def joined(
    expression: str | Mapping[str, Any] | Constraint,
    where: str | Filter | None,
    *,
    fields: Collection[str] | None = None,
) -> Constraint:
    """Make one tree of an expression and the filter that it is asked with: all that is asked for, for the record.

    ``unparse`` writes it as one expression. Raises ExpressionError as ``parse`` and ``parse_filter`` do.
    """
    tree = parse(expression, fields=fields) if isinstance(expression, str | Mapping) else expression
    condition = parse_filter(where, fields=fields) if isinstance(where, str) else where
    return tree if condition is None else And(parts=(tree, as_constraint(condition)))


def _known(tree: Constraint, fields: Collection[str] | None) -> Constraint:
    """Return a tree whose cost is bounded and whose fields are all known. Raises ExpressionError."""
    check_cost(tree)
    if fields is not None:
        for condition in tree.find(Condition):
            if not is_known(condition.field, fields):
                raise ExpressionError(unknown_field(condition.field, fields))
    return tree


def _json(expression: str) -> Any:
    try:
        return json.loads(expression)
    except json.JSONDecodeError as exc:
        raise _pointed(f"not valid JSON: {exc.msg}", expression, exc.pos) from exc
    except RecursionError as exc:
        raise ExpressionError(TOO_DEEP, expression=expression) from exc
    except ValueError as exc:
        raise ExpressionError("not valid JSON: a whole number has too many digits", expression=expression) from exc


def _read(expression: str, reader: TreeReader) -> Constraint:
    try:
        (tree,) = _parser(kinds()).parse(expression).children
        assert isinstance(tree, Tree)  # every alternative of the start rule is one
        return reader.read(tree)
    except UnexpectedInput as exc:
        message, position = _complaint(expression, exc, reader)
        raise _pointed(message, expression, position) from exc
    except Misread as exc:
        raise _pointed(str(exc), expression, exc.position) from exc


@cache
def _parser(kinds: tuple[type[Concept], ...]) -> Lark:
    """Make the parser of the language with these kinds of concepts."""
    grammar = files("t2c_search.query.language").joinpath("grammar.lark").read_text(encoding="utf-8")
    spaced = "|".join(keyword.replace(" ", r"\s+") for keyword in keywords())
    whole = [grammar.replace("KEYWORDS", spaced), *(kind.syntax.grammar for kind in kinds)]
    return Lark("\n".join(whole), parser="lalr", propagate_positions=True)


@cache
def _syntax(kinds: tuple[type[Concept], ...]) -> re.Pattern[str]:
    """What makes an expression more than one text."""
    signs = [kind.syntax.sign for kind in kinds if kind.syntax.sign]
    return re.compile("|".join([_SIGNS, *signs]), re.VERBOSE)


def _complaint(expression: str, error: UnexpectedInput, reader: TreeReader) -> tuple[str, int]:
    """What is wrong, and the offset where."""
    if not isinstance(error, UnexpectedToken):
        position = error.pos_in_stream or 0
        if expression[position] in "\"'“`":
            return "this quote is not closed", position
        return _expected(error.allowed if isinstance(error, UnexpectedCharacters) else (), reader), position
    last = error.token_history[-1] if error.token_history else None
    if last is not None and last.type == "BARE" and " " in last and last in (reader.fields or ()):
        return f"the name of this payload field has a space in it: write {unparse_field(last)}", last.start_pos or 0
    expected = error.accepts or error.expected
    at_end = error.token.type == "$END"
    position = len(expression.rstrip()) if at_end else error.token.start_pos or 0
    if error.token.type == "RPAR" and "$END" in expected:
        return 'this ")" closes nothing', position
    return _expected(expected, reader), position


def _expected(terminals: Collection[str], reader: TreeReader) -> str:
    """Say what may come next; where a condition may, a filter takes nothing else."""
    condition_only = "FIELD" in terminals and not reader.meanings
    names = [_EXPECTED[name] for name in _EXPECTED if name in terminals and not (condition_only and name == "STRING")]
    *others, last = names
    return f"expected {', '.join(others)} or {last}" if others else f"expected {last}"


def _pointed(message: str, expression: str, position: int) -> ExpressionError:
    """Make the error: the message, the line it is about and a caret under the character; of a long line, what is near it."""
    start = expression.rfind("\n", 0, position) + 1
    line, at = expression[start:].split("\n", 1)[0].expandtabs(1), position - start
    cut = max(0, at - _NEAR)
    before, after = "... " * (cut > 0), " ..." * (len(line) > at + _NEAR)
    told = f"{message}\n  {before}{line[cut : at + _NEAR]}{after}\n  {' ' * (len(before) + at - cut)}^"
    return ExpressionError(told, expression=expression, position=position)
