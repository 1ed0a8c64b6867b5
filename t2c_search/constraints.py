"""The constraint tree, for those who build one instead of writing an expression.

    from t2c_search.constraints import And, Not, Phrase
    photos.search(And(parts=(Phrase(text="a dog"), Not(part=Phrase(text="a person")))))

Conditions on the payload are the leaves of ``t2c_search.filters``.
"""

from t2c_search.query.language.concepts import Concept, Contrast, Difference, Image, Like, Phrase, Saved, Sum, Term
from t2c_search.query.language.constraints import And, Constraint, Not, Or, Threshold, read_tree, write_tree
from t2c_search.query.language.printer import unparse
from t2c_search.query.language.syntax import parse

__all__ = [
    "And",
    "Concept",
    "Constraint",
    "Contrast",
    "Difference",
    "Image",
    "Like",
    "Not",
    "Or",
    "Phrase",
    "Saved",
    "Sum",
    "Term",
    "Threshold",
    "parse",
    "read_tree",
    "unparse",
    "write_tree",
]
