"""A decoder's folder: ``config.json``, ``model.safetensors`` and ``tokenizer.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from safetensors.torch import load_file
from tokenizers import Tokenizer

from t2c_search.concepts.describe.decoder import Decoder, DecoderShape
from t2c_search.concepts.describe.loop import save
from t2c_search.concepts.describe.tokens import BEGIN, END, token_id
from t2c_search.concepts.describe.training import Trained
from t2c_search.errors import EncoderError, brief
from t2c_search.types import EncoderRef

FORMAT = 1
CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"


@dataclass(frozen=True, slots=True)
class DecoderCard:
    """What a decoder's folder says of it: the CLIP model whose space it speaks of, its shape and its memory's temperature.

    ``loss`` is that per token of captions kept aside from its training, after they were recalled from its memory.
    """

    clip: EncoderRef
    shape: DecoderShape
    temperature: float
    loss: float
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def write_decoder(folder: Path, trained: Trained, clip: EncoderRef) -> DecoderCard:
    """Write a decoder's three files into a folder that is there, the weights in float16."""
    decoder = trained.decoder
    card = DecoderCard(clip, decoder.shape, decoder.temperature, trained.loss)
    save(decoder, folder / WEIGHTS)
    trained.tokenizer.save(str(folder / TOKENIZER))
    (folder / CONFIG).write_text(json.dumps(card.to_json(), indent=2) + "\n", encoding="utf-8")
    return card


def read_decoder(folder: Path) -> tuple[DecoderCard, Decoder, Tokenizer]:
    """Read a decoder, ready to speak, on the CPU. Raises EncoderError for a folder that holds none that can be read."""
    if missing := [name for name in (CONFIG, WEIGHTS, TOKENIZER) if not (folder / name).is_file()]:
        raise EncoderError(f"no decoder in {folder}: {', '.join(missing)} missing; t2c fit-decoder makes one")
    card = read_card(folder)
    try:
        decoder = Decoder(card.shape).eval()
        decoder.load_state_dict({name: each.float() for name, each in load_file(folder / WEIGHTS).items()})
        tokenizer: Tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        for token in (BEGIN, END):
            token_id(tokenizer, token)
    except Exception as exc:  # the tokenizers library raises nothing narrower, and torch and safetensors much
        raise _unreadable(folder, exc) from exc
    decoder.temperature = card.temperature
    return card, decoder, tokenizer


def read_card(folder: Path) -> DecoderCard:
    """Read what a folder says of its decoder. Raises EncoderError as ``read_decoder`` does."""
    try:
        content = (folder / CONFIG).read_bytes()
        version = _Version.model_validate_json(content).format
        if version != FORMAT:
            raise EncoderError(
                f"the decoder in {folder} has format {version}, this t2c_search reads {FORMAT}: upgrade t2c-search, or make "
                "it anew with t2c fit-decoder"
            )
        return TypeAdapter(DecoderCard).validate_json(content)
    except (OSError, ValidationError) as exc:
        raise _unreadable(folder, exc) from exc


class _Version(BaseModel):
    """The one field that every version of the card has."""

    model_config = ConfigDict(strict=True)

    format: int


def _unreadable(folder: Path, exc: Exception) -> EncoderError:
    reason = brief(" ".join(str(exc).split()) or type(exc).__name__, 200)
    return EncoderError(f"the decoder in {folder} cannot be read: {reason}; make it anew with t2c fit-decoder")
