"""Random constraint trees."""

from __future__ import annotations

from datetime import datetime

from hypothesis import strategies as st

from t2c_search.filters import Contains, Equals, Exists, GeoRadius, Glob, OneOf, Range, StartsWith, TextMatch
from t2c_search.query.language.concepts import Concept, Contrast, Difference, Image, Like, Phrase, Saved, Sum, Term
from t2c_search.query.language.constraints import And, Constraint, Not, Or, Threshold

KEYWORDS = [
    "and",
    "Or",
    "NOT",
    "not-x",
    "over",
    "rather than",
    "top",
    "top 5%",
    "in",
    "between",
    "exists",
    "contains",
    "glob",
    "starts with",
    "image",
    "true",
]
FIELDS = st.one_of(
    st.sampled_from(["width", "exif.iso", "gps", "Kamera_größe", "with-hyphen", "taken", "shot type", "2nd", "a`b\\"]),
    st.sampled_from(KEYWORDS),
    st.text(min_size=1, max_size=6),
)
OTHER_FIELDS = FIELDS.filter(lambda field: field != "taken")
"""Of what expressions compare with other values than dates."""
WORDS = st.text(min_size=1, max_size=12).filter(str.strip)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WEIGHTS = st.one_of(st.floats(1e-6, 1e6), st.floats(-1e6, -1e-6))
LIMITS = st.one_of(NUMBERS, st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))


def conditions() -> st.SearchStrategy[Constraint]:
    """Conditions on the payload."""
    scalars = st.one_of(st.booleans(), st.integers(-(10**9), 10**9), NUMBERS, st.text(max_size=8))
    lists = st.one_of(
        st.lists(st.text(max_size=8), min_size=1), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1)
    ).map(tuple)
    return st.one_of(
        st.builds(Equals, field=OTHER_FIELDS, value=scalars),
        st.builds(OneOf, field=OTHER_FIELDS, values=lists),
        _ranges(OTHER_FIELDS, NUMBERS),
        _ranges(FIELDS, st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))),
        st.builds(Exists, field=FIELDS),
        *(st.builds(kind, field=FIELDS, text=st.text(max_size=8)) for kind in (TextMatch, StartsWith, Contains)),
        st.builds(Glob, field=FIELDS, pattern=st.text(max_size=8)),
        st.builds(
            GeoRadius, field=FIELDS, lat=st.floats(-90, 90), lon=st.floats(-180, 180), metres=st.floats(0.1, 1e7)
        ),
    )


def _ranges(fields: st.SearchStrategy[str], limits: st.SearchStrategy[object]) -> st.SearchStrategy[Range]:
    bounds = st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), limits, min_size=1)
    return st.builds(lambda field, bound: Range(field=field, **bound), fields, bounds)


def concepts(atoms: st.SearchStrategy[Concept]) -> st.SearchStrategy[Concept]:
    """Directions made of others."""
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=4, unique=True).map(
                lambda parts: Contrast(concept=parts[0], alternatives=tuple(parts[1:]))
            ),
            st.lists(inner, min_size=2, max_size=2, unique=True).map(
                lambda parts: Difference(concept=parts[0], over=parts[1])
            ),
            st.lists(st.builds(Term, weight=WEIGHTS, concept=inner), min_size=1, max_size=3).map(
                lambda terms: Sum(terms=tuple(terms))
            ),
        ),
        max_leaves=4,
    )


def written_atoms() -> st.SearchStrategy[Concept]:
    """Every kind of simple concept, with whatever text a user might put between quotes."""
    return st.one_of(
        WORDS.map(lambda text: Phrase(text=text)),
        WORDS.map(lambda path: Image(path=path)),
        WORDS.map(lambda point: Like(id=point)),
        st.from_regex(r"\A\w[\w-]{0,8}\Z").map(lambda name: Saved(name=name)),
    )


def thresholds(inner: st.SearchStrategy[Concept]) -> st.SearchStrategy[Constraint]:
    """Concepts with a value to reach, in every unit."""
    return st.one_of(
        st.builds(Threshold, concept=inner, value=st.floats(-3, 3), unit=st.just("sd"), strict=st.booleans()),
        st.builds(Threshold, concept=inner, value=st.floats(-1, 1), unit=st.just("cosine"), strict=st.booleans()),
        st.builds(Threshold, concept=inner, value=st.floats(0.1, 100), unit=st.just("top")),
    )


def trees(leaves: st.SearchStrategy[Constraint], max_leaves: int = 6) -> st.SearchStrategy[Constraint]:
    """Boolean combinations of the leaves."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: And(parts=tuple(parts))),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: Or(parts=tuple(parts))),
            inner.map(lambda part: Not(part=part)),
        ),
        max_leaves=max_leaves,
    )
