"""The collection's card: what a stranger's machine needs to know to query the collection."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from t2c_search.errors import CollectionFormatError, UsageError
from t2c_search.state.kept import Kept
from t2c_search.types import EncoderRef

FORMAT_VERSION = 3
"""Raised whenever an older version could misread the collection."""


class CollectionCard(BaseModel):
    """Which models made a collection's vectors, in which format; stored with the collection as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int = FORMAT_VERSION
    made_by: str
    clip: EncoderRef
    backbone: EncoderRef
    text: str | None = None
    free_text: bool = True
    """Whether the text side takes any text, or only the names of a closed vocabulary."""
    native: bool = False
    explainable: str | None = None
    """The method by which images' vectors are taken apart, where their factors are kept beside them."""

    @property
    def aligned(self) -> bool:
        """Whether an aligner stands between the backbone and CLIP space."""
        return self.backbone.difference(self.clip) is not None


def check_model(role: str, own: EncoderRef, came: EncoderRef) -> None:
    """Raise UsageError, naming both, unless ``came`` gives the same vectors as the collection's ``own`` model."""
    if differing := own.difference(came):
        same = " (same id, but what it names has changed)" if came.id == own.id else ""
        raise UsageError(
            f"the collection was made with the {role} {own.id!r}; {came.id!r} has other {differing}{same}. "
            "Use the collection's own model, or another collection name for this one"
        )


class _Version(BaseModel):
    """The one field that every version of the card has."""

    format_version: int


def _dump(card: CollectionCard | None) -> bytes:
    return b"" if card is None else card.model_dump_json(indent=1).encode()


def _load(content: bytes) -> CollectionCard | None:
    try:
        version = _Version.model_validate_json(content).format_version
        if version > FORMAT_VERSION:
            raise CollectionFormatError(
                f"the collection has format {version}, this t2c_search reads up to {FORMAT_VERSION}; upgrade t2c-search to "
                "use it"
            )
        return CollectionCard.model_validate_json(content)
    except ValidationError as exc:
        raise CollectionFormatError(f"the collection's card cannot be read: {exc.errors()[0]['msg']}") from exc


CARD: Kept[CollectionCard | None] = Kept("card", None, _dump, _load)
"""Written last, when a collection is made: one without it was never finished, or is not ours."""
