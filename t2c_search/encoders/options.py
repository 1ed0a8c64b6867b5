"""An encoder's id in its parts: ``KIND:NAME``, or with options ``KIND:NAME?layers=3``. The only place that reads them.

``layers=N`` makes a model's row of its embedding and the pooled outputs of its last N stages (a convolutional net's levels
of resolution, a transformer's blocks), each a unit vector of its own: see ``adapters/stages.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from t2c_search.encoders.loading import suggest
from t2c_search.errors import UnknownEncoderError

_OF_KIND = {
    "timm": ("layers",),
    "open_clip": ("layers",),
    "torch": ("layers",),
    "mini": ("layers",),
    "st": (),
    "precomputed": (),
}
_WITH_OPTIONS = re.compile(r"(?P<name>.*)\?(?P<options>[^/?]*=[^/?]*)", re.DOTALL)  # no path that has a ? in it


@dataclass(frozen=True, slots=True)
class Options:
    """What an id asks of its model beyond its embedding; as a string, what ends the id."""

    layers: int = 0
    """Stages whose pooled outputs lie beside the embedding; 0: the embedding alone, as it comes."""

    def __str__(self) -> str:
        return f"?layers={self.layers}" if self.layers else ""


@dataclass(frozen=True, slots=True)
class EncoderId:
    """The parts of an id; those of a third party's kind have no options, as their names are their own."""

    kind: str
    name: str
    options: Options


def has_options(kind: str) -> bool:
    """Tell whether encoders of a kind have any options."""
    return bool(_OF_KIND.get(kind))


def read_id(encoder_id: str) -> EncoderId:
    """Take an id apart. Raises UnknownEncoderError, naming those there are, for an option that its kind does not have."""
    kind, _, name = encoder_id.partition(":")
    prefix, _, tail = kind.partition("?")  # mini?layers=3 has no name
    if prefix in _OF_KIND and tail:
        kind, name = prefix, f"?{tail}"
    match = _WITH_OPTIONS.fullmatch(name) if kind in _OF_KIND else None
    if match is None:
        return EncoderId(kind, name, Options())
    options = {}
    for option in match["options"].split("&"):
        key, _, value = option.partition("=")
        options[key] = _number(encoder_id, kind, key, value)
    return EncoderId(kind, match["name"], Options(**options))


def _number(encoder_id: str, kind: str, key: str, value: str) -> int:
    known = _OF_KIND[kind]
    if key not in known:
        there_are = f"known options of {kind}: {', '.join(known)}" if known else f"{kind} has no options"
        raise UnknownEncoderError(f"no option {key!r} in {encoder_id!r}; {there_are}{suggest(key, known)}")
    if not re.fullmatch("[1-9][0-9]{0,3}", value):
        raise UnknownEncoderError(f"{encoder_id!r}: {key} takes a number of 1 or more, such as {key}=3, got {value!r}")
    return int(value)
