"""The collection's card: what a stranger's machine needs to know to query the collection."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from t2c_search.errors import CollectionFormatError, UsageError
from t2c_search.stores.protocol import VectorStore
from t2c_search.types import EncoderRef

FORMAT_VERSION = 1
"""Raised whenever an older version could misread the collection."""
ALIGNER_BLOB, CONCEPTS_BLOB = "aligner", "concepts"
"""What a collection carries beside its card."""
CARD_BLOB = "card"


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


def write_card(store: VectorStore, card: CollectionCard) -> None:
    """Store the card with the collection; this is the last step of making one."""
    store.write_blob(CARD_BLOB, card.model_dump_json(indent=1).encode())


def read_card(store: VectorStore) -> CollectionCard | None:
    """Return the collection's card, or None when there is none: its making was interrupted, or it is not ours.

    Raises CollectionFormatError when a newer version of t2c_search made the collection.
    """
    content = store.read_blob(CARD_BLOB)
    if content is None:
        return None
    try:
        version = _Version.model_validate_json(content).format_version
        if version > FORMAT_VERSION:
            raise CollectionFormatError(
                f"collection {store.collection!r} has format {version}, this t2c_search reads up to {FORMAT_VERSION}; "
                "upgrade t2c-search to use it"
            )
        return CollectionCard.model_validate_json(content)
    except ValidationError as exc:
        raise CollectionFormatError(
            f"the card of collection {store.collection!r} cannot be read: {exc.errors()[0]['msg']}"
        ) from exc


class _Version(BaseModel):
    """The one field that every version of the card has."""

    format_version: int
