"""The ``t2c`` command: each command is its parameters plus one call of the facade."""

from t2c_search.cli import (
    audit,
    bottleneck,
    classify,
    collections,
    concept,
    decoder,
    demo,
    describe,
    index,
    machine,
    map,
    search,
    shift,
    upkeep,
)
from t2c_search.cli.app import app

__all__ = [
    "app",
    "audit",
    "bottleneck",
    "classify",
    "collections",
    "concept",
    "decoder",
    "demo",
    "describe",
    "index",
    "machine",
    "map",
    "search",
    "shift",
    "upkeep",
]
