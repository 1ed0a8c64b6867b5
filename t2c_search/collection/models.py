"""A collection's models, each loaded when first needed and checked against the collection's card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from t2c_search.decoding.given import GivenImage, pixels_of
from t2c_search.encoders import registry
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.encoders.pool import ModelPool, default_pool
from t2c_search.encoders.protocols import model_input, needs_pixels
from t2c_search.errors import UsageError
from t2c_search.settings import Device, Dtype, Settings
from t2c_search.state.card import CollectionCard, check_model
from t2c_search.types import FloatArray

if TYPE_CHECKING:
    import torch

    from t2c_search.alignment.aligner import Aligner
    from t2c_search.encoders.protocols import ImageEncoder, TextEncoder


@dataclass(frozen=True, slots=True)
class ModelSelection:
    """The models asked for, by id, and where they run; None: what the collection's card says, or else the settings.

    They are loaded through a ``pool``, which other collections may share.
    """

    clip: str | None = None
    backbone: str | None = None
    text: str | None = None
    device: Device = "auto"
    dtype: Dtype = "auto"
    compile: bool = False
    pool: ModelPool = field(default_factory=default_pool, repr=False, compare=False)
    through: str | Path | None = None
    """An aligner's file: images that a question shows go through its backbone, and by it onto the collection's."""

    def load_clip(self, encoder_id: str) -> ImageEncoder:
        """Load a CLIP model. Raises UsageError for an encoder that cannot be one."""
        return registry.as_clip(self._load(encoder_id, self.compile))

    def load_backbone(self, encoder_id: str) -> ImageEncoder:
        """Load a backbone. Raises UsageError for an encoder of texts only."""
        return registry.as_image_encoder(self._load(encoder_id, self.compile))

    def load_text(self, encoder_id: str) -> TextEncoder:
        """Load a text tower, whose image side, if it has one, is not compiled. Raises UsageError for one of images only."""
        return registry.as_text_encoder(self._load(encoder_id, compile=False))

    def load_pair(self, settings: Settings) -> tuple[ImageEncoder, ImageEncoder]:
        """Load the CLIP model and the backbone for a new collection; the same object twice when they are the same."""
        clip_id = self.clip or settings.clip
        backbone_id = self.backbone or settings.backbone or clip_id
        clip = self.load_clip(clip_id)
        return clip, clip if backbone_id == clip_id else self.load_backbone(backbone_id)

    def _load(self, encoder_id: str, compile: bool) -> registry.Encoder:
        return self.pool.load(encoder_id, device=self.device, dtype=self.dtype, compile=compile)


class Models:
    """The models behind one collection: what maps its images and its texts to unit rows of CLIP space."""

    def __init__(self, card: CollectionCard, choice: ModelSelection, read_aligner: Callable[[], Aligner]) -> None:
        self.card = card
        self.choice = choice
        self._read_aligner = read_aligner

    def __reduce__(self) -> tuple[type[Models], tuple[CollectionCard, ModelSelection, Callable[[], Aligner]]]:
        """Pickle what another process, without the store, loads the same models by."""
        from t2c_search.alignment.aligner import Aligner

        aligner = self._read_aligner().to_bytes() if self.card.aligned else b""
        return Models, (self.card, self.choice, partial(Aligner.from_bytes, aligner))

    @cached_property
    def clip(self) -> ImageEncoder:
        """The CLIP model. Raises UsageError when it is not the one that made the collection."""
        clip_id = self.choice.clip or trusted(self.card.clip.id, "--clip")
        encoder = self.choice.load_clip(clip_id)
        check_model("CLIP model", self.card.clip, encoder_ref(encoder))
        return encoder

    @cached_property
    def backbone(self) -> ImageEncoder:
        """The backbone. Raises UsageError when it is not the one that made the collection."""
        if not self.card.aligned and self.choice.backbone in (None, self.choice.clip, self.card.backbone.id):
            return self.clip
        backbone_id = self.choice.backbone or trusted(self.card.backbone.id, "--backbone")
        encoder = self.choice.load_backbone(backbone_id)
        check_model("backbone", self.card.backbone, encoder_ref(encoder))
        return encoder

    @cached_property
    def text(self) -> TextEncoder:
        """What understands the queries: the text tower the user brought, else the CLIP model's own.

        Raises UsageError when there is none, or when it gives vectors of another space.
        """
        brought = self.choice.text or (self.card.text and trusted(self.card.text, "--text"))
        if brought is None:
            return registry.require_text(self.clip)
        encoder = self.choice.load_text(brought)
        if encoder.text_dim != self.card.clip.dim:
            raise UsageError(
                f"text tower {brought!r} gives {encoder.text_dim} dimensions, the CLIP model "
                f"{self.card.clip.id!r} {self.card.clip.dim}: it was not trained for that space"
            )
        return encoder

    @cached_property
    def project(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The map from the backbone's rows (n, d_backbone) to unit rows (n, d_clip), on the backbone's device."""
        if self.card.aligned:
            return self._read_aligner().to(self.backbone.device)
        from torch.nn.functional import normalize

        return normalize

    def check_choice(self) -> None:
        """Raise UsageError when a model was named that is not the collection's; one of another id is loaded to tell."""
        if self.choice.clip not in (None, self.card.clip.id):
            _ = self.clip
        if self.choice.backbone not in (None, self.card.backbone.id):
            _ = self.backbone

    def load_image_side(self) -> tuple[ImageEncoder, Callable[[torch.Tensor], torch.Tensor]]:
        """Return the backbone and the projection of its rows: all that a process needs to index images.

        Where the collection keeps factors, the backbone is one that tells them.
        """
        if self.card.explainable is None:
            return self.backbone, self.project
        from t2c_search.attribution.explained import Explained

        return Explained(self.backbone, self.card.explainable), self.project

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Map n texts to unit rows (n, d_clip) float32."""
        return self.text.encode_texts(texts).cpu().numpy()

    @cached_property
    def shown_side(self) -> tuple[ImageEncoder, Callable[[torch.Tensor], torch.Tensor]]:
        """What looks at the images that questions show, and the projection of its rows (n, d) to unit rows (n, d_clip).

        That is the backbone and its projection; where an aligner onto the backbone was chosen, its own model, and the backbone
        is not loaded: a backbone that was chosen is the aligner's. Raises AlignerMismatchError for an aligner onto another
        model, UsageError where the collection's own aligner asks for the lengths of its backbone's rows.
        """
        if self.choice.through is None:
            return self.backbone, self.project
        from t2c_search.alignment.aligner import Aligner

        onto = Aligner.load(self.choice.through)
        encoder = self.choice.load_backbone(self.choice.backbone or trusted(onto.backbone.id, "--backbone"))
        onto.check(encoder_ref(encoder), self.card.backbone)
        onto = onto.to(encoder.device)
        if not self.card.aligned:
            return encoder, onto
        own = self._read_aligner().to(encoder.device)
        if own.transform != "unit":
            raise UsageError(
                f"the collection's aligner takes rows of {self.card.backbone.id!r} at their own length, and what is carried "
                "onto them has length 1: realign the collection with an aligner that t2c fit makes"
            )
        return encoder, lambda rows: own(onto(rows))

    def embed_image(self, image: GivenImage) -> FloatArray:
        """Map an image to its unit vector (d_clip,) float32, by the way that the collection's own images went.

        A path is that of a file, or any path of a hit. Raises ImageError when it cannot be read or decoded.
        """
        encoder, project = self.shown_side
        (tensor,) = _look_at(encoder, image)
        return project(encoder.encode_images(tensor.unsqueeze(0)))[0].cpu().numpy()


def _look_at(encoder: ImageEncoder, image: GivenImage) -> tuple[torch.Tensor, ...]:
    """Return what an encoder takes of an image, without the batch axis."""
    from t2c_search.indexing.embedding import look_at
    from t2c_search.sources import read_image

    if isinstance(image, str | Path):
        return look_at(read_image(str(image)), str(image), (encoder,))[1]
    if not needs_pixels(encoder):
        raise UsageError(f"{encoder.id!r} knows images by their paths alone: give the image's path")
    if isinstance(image, bytes):
        return look_at(image, "", (encoder,))[1]
    return (model_input(encoder, pixels_of(image, encoder.decode_size), ""),)


def trusted(encoder_id: str, option: str) -> str:
    """Return an id that a card names, unless loading it would run code that the user has not named."""
    if encoder_id.startswith("torch:"):
        raise UsageError(
            f"the collection was made with {encoder_id!r}, which runs code of your own: "
            f"name it yourself if you trust it, with {option} {encoder_id}"
        )
    return encoder_id
