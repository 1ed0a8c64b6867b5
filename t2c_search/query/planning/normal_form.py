"""Constraint trees as a disjunction of branches, each a conjunction of literals and one payload filter."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10, prod

from t2c_search.errors import ExpressionError
from t2c_search.filters import AllOf, Filter
from t2c_search.filters import Not as NotFilter
from t2c_search.query.language.bounds import check_cost
from t2c_search.query.language.concepts import Concept
from t2c_search.query.language.constraints import And, Constraint, Not, Or, Threshold, as_filter

MAX_BRANCHES = 32
"""One search each; an expression that multiplies out to more is asking for something else."""


@dataclass(frozen=True, slots=True)
class Conjunct:
    """One literal of a branch: a concept or a threshold on one, wanted or not."""

    constraint: Concept | Threshold
    wanted: bool

    @property
    def concept(self) -> Concept:
        """The direction it is about."""
        return self.constraint.concept if isinstance(self.constraint, Threshold) else self.constraint


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Literals that hold together, among the points that match a filter."""

    conjuncts: tuple[Conjunct, ...]
    where: Filter | None


def branches(tree: Constraint, where: Filter | None = None) -> list[Conjunction]:
    """Write a tree in disjunctive normal form; parts that ask about the payload alone stay whole, as filters.

    Raises ExpressionError when there would be more than ``MAX_BRANCHES``, or when it would cost too much (``bounds.py``).
    """
    check_cost(tree)
    if where is not None:
        check_cost(where)
    number = _size(tree, True)
    if number > MAX_BRANCHES:
        raise ExpressionError(
            f"the expression multiplies out to {_written(number)} alternatives, and at most {MAX_BRANCHES} are searched: "
            "move the OR into fewer places, or ask in several queries"
        )
    found = [_conjunction(atoms, where) for atoms in _expanded(tree, True)]
    return list(dict.fromkeys(found))


def combined(*parts: Filter | None) -> Filter | None:
    """All of the filters that are there."""
    given = tuple(dict.fromkeys(part for part in parts if part is not None))
    return AllOf(parts=given) if len(given) > 1 else given[0] if given else None


_Atom = Conjunct | Filter


def _conjunction(atoms: tuple[_Atom, ...], where: Filter | None) -> Conjunction:
    literals = tuple(dict.fromkeys(atom for atom in atoms if isinstance(atom, Conjunct)))
    return Conjunction(literals, combined(*(atom for atom in atoms if not isinstance(atom, Conjunct)), where))


def _written(number: int) -> str:
    """Python refuses to write numbers of thousands of digits, and nobody would read them."""
    return str(number) if number < 10**15 else f"more than 10^{int(log10(number))}"


def _size(tree: Constraint, wanted: bool) -> int:
    if not isinstance(tree, And | Or | Not) or as_filter(tree) is not None:
        return 1
    if isinstance(tree, Not):
        return _size(tree.part, not wanted)
    sizes = [_size(part, wanted) for part in tree.parts]
    return prod(sizes) if isinstance(tree, And) == wanted else sum(sizes)


def _expanded(tree: Constraint, wanted: bool) -> list[tuple[_Atom, ...]]:
    """Alternatives, each the atoms that must hold; ``wanted`` False expands the tree's complement (De Morgan)."""
    condition = as_filter(tree)
    if condition is not None:
        return [(condition if wanted else NotFilter(part=condition),)]
    match tree:
        case Not():
            return _expanded(tree.part, not wanted)
        case And() | Or():
            parts = [_expanded(part, wanted) for part in tree.parts]
            if isinstance(tree, And) != wanted:
                return [atoms for part in parts for atoms in part]
            product: list[tuple[_Atom, ...]] = [()]
            for part in parts:
                product = [done + atoms for done in product for atoms in part]
            return product
        case Threshold() | Concept():
            return [(Conjunct(tree, wanted),)]
    raise AssertionError(f"not a constraint: {tree!r}")
