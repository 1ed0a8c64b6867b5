"""The kinds of concepts: what each consists of, and how it is read from an expression and written into one.

A concept is a direction in CLIP space that has a name, looked for in whole images or ``anywhere`` in them. A further kind is a
class here, an entry in ``KINDS``, and its direction in ``planning/directions.py``.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, Union

from lark import Token
from pydantic import AfterValidator, Field, GetPydanticSchema, TypeAdapter, model_validator
from pydantic_core import core_schema

from t2c_search.filters import Node, nfc
from t2c_search.query.language.parsed import Parsed, built, number, operands, tokens, unquoted
from t2c_search.query.language.writing import ATOM, OR, RELATION, SUM, Written, quoted, written_number

MAX_WEIGHT = 1e6
"""Far beyond what changes a ranking, and small enough for single steps of arithmetic to keep their precision."""


@dataclass(frozen=True, slots=True)
class Syntax:
    """What a kind of concept adds to the language.

    ``grammar`` extends ``grammar.lark`` by alternatives that bear the kind's name; ``keyword`` ends an unquoted text before
    it; ``sign`` is a regular expression of what tells an expression with such a concept from one that is a text altogether.
    """

    grammar: str = ""
    keyword: str = ""
    sign: str = ""

    @classmethod
    def called(cls, name: str) -> Syntax:
        """Return that of ``name("argument")``."""
        rule, token = f'_{name.upper()} "(" (STRING | ARGUMENT) ")"', rf"/{name}(?=\s*\()/i"
        return cls(f"%extend atom: {rule} -> {name}\n_{name.upper()}.9: {token}", sign=rf"(?:^|[\s(])(?i:{name})\(")

    @classmethod
    def between(cls, name: str, keyword: str, operand: str) -> Syntax:
        """Return that of an atom, a keyword of one or more words and an operand."""
        token, spaced = keyword.upper().replace(" ", "_"), keyword.replace(" ", r"\s+")
        grammar = f"%extend relation: atom _{token} {operand} -> {name}\n_{token}.9: /{spaced}\\b/i"
        return cls(grammar, keyword=keyword, sign=rf"\b{keyword.upper()}\b".replace(" ", r"\s+"))


class Reader(Protocol):
    """What reads the operands of a concept."""

    def concept(self, tree: Parsed) -> Concept:
        """Read a concept, where nothing else will do."""
        ...

    def text(self, token: Token) -> str:
        """Read the token of a text."""
        ...


class Concept(Node):
    """A direction in CLIP space that has a name."""

    kind: str
    syntax: ClassVar[Syntax]

    @classmethod
    @abstractmethod
    def read(cls, tree: Parsed, reader: Reader) -> Self:
        """Make one of what the parser found."""

    @abstractmethod
    def write(self, parts: tuple[Written, ...]) -> Written:
        """Write it, from its concepts as they are written."""


def check_name(name: str) -> str:
    """Return the name of a saved concept. Raises ValueError when ``@name`` could not be typed in an expression."""
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ValueError(f"a concept's name is made of letters, digits, _ and -, unlike {name!r}")
    return name


def _check_words(text: str) -> str:
    if not text.strip():
        raise ValueError("the quotes are empty")
    return text


Words = Annotated[str, AfterValidator(_check_words)]
Name = Annotated[str, AfterValidator(check_name)]
AnyConcept = Annotated[
    Concept,
    GetPydanticSchema(lambda source, handler: core_schema.no_info_plain_validator_function(lambda v: read_kind(v))),
]
"""A concept of whatever kind there is."""


class Phrase(Concept):
    """``"a dog"``: the direction of a text."""

    kind: Literal["phrase"] = "phrase"
    text: Annotated[Words, AfterValidator(nfc)]
    syntax: ClassVar[Syntax] = Syntax("%extend atom: (STRING | BARE) -> phrase")

    @classmethod
    def read(cls, tree: Parsed, reader: Reader) -> Self:
        """Read a text, in quotes or not."""
        (token,) = tokens(tree)
        return built(cls, token, text=reader.text(token))

    def write(self, parts: tuple[Written, ...]) -> Written:
        """Write the text in quotes."""
        return Written(quoted(self.text), ATOM)


class Image(Concept):
    """``image("x.jpg")``: the direction of an image file."""

    kind: Literal["image"] = "image"
    path: Words
    syntax: ClassVar[Syntax] = Syntax.called("image")

    @classmethod
    def read(cls, tree: Parsed, reader: Reader) -> Self:
        """Read the file's path."""
        (token,) = tokens(tree)
        return built(cls, token, path=unquoted(token))

    def write(self, parts: tuple[Written, ...]) -> Written:
        """Write the path in quotes."""
        return Written(f"image({quoted(self.path)})", ATOM)


class ShownImage(Image):
    """An image in memory, by its direction: it can be asked for, and what is written of it names no file."""

    path: Words = "in memory"
    direction: tuple[float, ...] = Field(repr=False)


class Like(Concept):
    """``like("id")``: the direction of an image of the collection."""

    kind: Literal["like"] = "like"
    id: Words
    syntax: ClassVar[Syntax] = Syntax.called("like")

    @classmethod
    def read(cls, tree: Parsed, reader: Reader) -> Self:
        """Read the image's id."""
        (token,) = tokens(tree)
        return built(cls, token, id=unquoted(token))

    def write(self, parts: tuple[Written, ...]) -> Written:
        """Write the id in quotes."""
        return Written(f"like({quoted(self.id)})", ATOM)


class Saved(Concept):
    """``@beach``: a concept saved with the collection under that name."""

    kind: Literal["saved"] = "saved"
    name: Name
    syntax: ClassVar[Syntax] = Syntax("%extend atom: SAVED -> saved\nSAVED: /@\\w[\\w-]*/", sign=r"(?:^|\s)@")

    @classmethod
    def read(cls, tree: Parsed, reader: Reader) -> Self:
        """Read the name."""
        return cls(name=tokens(tree)[0][1:])

    def write(self, parts: tuple[Written, ...]) -> Written:
        """Write the name."""
        return Written(f"@{self.name}", ATOM)


class Anywhere(Concept):
    """``anywhere("a small red bag")``: what the best region of an image says of a concept, instead of the whole image."""

    kind: Literal["anywhere"] = "anywhere"
    concept: AnyConcept
    syntax: ClassVar[Syntax] = Syntax(
        '%extend atom: _ANYWHERE "(" disjunction ")" -> anywhere\n_ANYWHERE.9: /anywhere(?=\\s*\\()/i',
        sign=r"(?:^|[\s(])(?i:anywhere)\(",
    )

    @classmethod
    def read(cls, tree: Parsed, reader: Reader) -> Self:
        """Read the concept."""
        (concept,) = operands(tree)
        return cls(concept=reader.concept(concept))

    def write(self, parts: tuple[Written, ...]) -> Written:
        """Write the concept in parentheses."""
        return Written(f"anywhere({parts[0].text})", ATOM)


class Contrast(Concept):
    """``"a red car" RATHER THAN ("a blue car", "a white car")``: the concept less the mean of its alternatives."""

    kind: Literal["contrast"] = "contrast"
    concept: AnyConcept
    alternatives: tuple[AnyConcept, ...] = Field(min_length=1)
    syntax: ClassVar[Syntax] = Syntax.between("contrast", "rather than", "alternatives")

    @classmethod
    def read(cls, tree: Parsed, reader: Reader) -> Self:
        """Read one concept, and those that it is told from."""
        concept, alternatives = operands(tree)
        others = tuple(reader.concept(child) for child in operands(alternatives))
        return cls(concept=reader.concept(concept), alternatives=others)

    def write(self, parts: tuple[Written, ...]) -> Written:
        """Write several alternatives in parentheses."""
        concept, *others = parts
        alternatives = others[0].within(ATOM) if len(others) == 1 else f"({', '.join(o.within(OR) for o in others)})"
        return Written(f"{concept.within(ATOM)} RATHER THAN {alternatives}", RELATION)


class Difference(Concept):
    """``"sunny" OVER "cloudy"``: how much more of one concept than of another."""

    kind: Literal["difference"] = "difference"
    concept: AnyConcept
    over: AnyConcept
    syntax: ClassVar[Syntax] = Syntax.between("difference", "over", "atom")

    @classmethod
    def read(cls, tree: Parsed, reader: Reader) -> Self:
        """Read both concepts."""
        concept, over = operands(tree)
        return cls(concept=reader.concept(concept), over=reader.concept(over))

    def write(self, parts: tuple[Written, ...]) -> Written:
        """Write both concepts."""
        concept, over = parts
        return Written(f"{concept.within(ATOM)} OVER {over.within(ATOM)}", RELATION)


class Term(Node):
    """One weighted concept of a sum."""

    weight: float
    concept: AnyConcept

    @model_validator(mode="after")
    def _check(self) -> Term:
        if self.weight == 0:
            raise ValueError("a weight of 0 does nothing: leave the term out")
        if not 1 / MAX_WEIGHT <= abs(self.weight) <= MAX_WEIGHT:
            raise ValueError(f"a weight lies between {1 / MAX_WEIGHT:f} and {MAX_WEIGHT:.0f}, unlike {self.weight:g}")
        return self


class Sum(Concept):
    """``2 * "red car" + 0.5 * "rain" - "people"``: z-scores added with weights; a sum is a concept itself."""

    kind: Literal["sum"] = "sum"
    terms: tuple[Term, ...] = Field(min_length=1)
    syntax: ClassVar[Syntax] = Syntax(sign=r"(?:^|\s)[-+]")  # the grammar's own: it says how tightly sums bind

    @classmethod
    def read(cls, tree: Parsed, reader: Reader) -> Self:
        """Read terms after their signs, or a single one with a weight."""
        if _is_weighted(tree):
            return cls(terms=(cls._term(tree, 1.0, reader),))
        terms, sign = [], 1.0
        for child in tree.children:
            if isinstance(child, Token):
                sign = -1.0 if child == "-" else 1.0
            else:
                terms.append(cls._term(child, sign, reader))
        return cls(terms=tuple(terms))

    @staticmethod
    def _term(tree: Parsed, sign: float, reader: Reader) -> Term:
        if not _is_weighted(tree):
            return Term(weight=sign, concept=reader.concept(tree))
        (weight,), (concept,) = tokens(tree), operands(tree)
        return built(Term, weight, weight=sign * number(weight), concept=reader.concept(concept))

    def write(self, parts: tuple[Written, ...]) -> Written:
        """Write the terms; a lone one keeps its weight of 1: without it, it would be the concept itself.

        A lone one within another sum gets a sign too: without it, it would be a term of that sum.
        """
        text = ""
        for at, (term, part) in enumerate(zip(self.terms, parts, strict=True)):
            sign = "-" if term.weight < 0 else "+"
            weighted = abs(term.weight) != 1 or len(parts) == 1
            weight = f"{written_number(abs(term.weight))} * " if weighted else ""
            lead = f" {sign} " if at else sign.removeprefix("+")
            lone = isinstance(term.concept, Sum) and len(term.concept.terms) == 1 and term.concept.terms[0].weight > 0
            text += f"{lead}{weight}{f'(+{part.text})' if lone else part.within(RELATION)}"
        return Written(text, SUM)


KINDS: dict[str, type[Concept]] = {
    "phrase": Phrase,
    "image": Image,
    "like": Like,
    "saved": Saved,
    "anywhere": Anywhere,
    "contrast": Contrast,
    "difference": Difference,
    "sum": Sum,
}
"""What kinds of concepts there are, by their names: in expressions, in JSON and in ``planning/directions.py``."""


def kinds() -> tuple[type[Concept], ...]:
    """List the kinds that there are; what is made of them is kept by this list."""
    return tuple(KINDS.values())


def keywords() -> list[str]:
    """List the words that stand between concepts."""
    return [kind.syntax.keyword for kind in kinds() if kind.syntax.keyword]


def read_kind(content: Any, others: Collection[type[Node]] = ()) -> Any:
    """Read the wire form of a concept of any kind, or of a node of ``others``. Raises pydantic's ValidationError."""
    return _adapter((*kinds(), *others)).validate_python(content)


@cache
def _adapter(nodes: tuple[type[Node], ...]) -> TypeAdapter[Any]:
    known: Any = Annotated[Union[nodes], Field(discriminator="kind")]  # noqa: UP007 - nodes are not known before
    return TypeAdapter(known)


def _is_weighted(tree: Parsed) -> bool:
    return tree.data == "sum" and isinstance(tree.children[0], Token) and tree.children[0].type == "WEIGHT"
