"""Sentences about points of CLIP space: from a memory of texts, by beam search."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from t2c_search.concepts.describe import beam
from t2c_search.concepts.describe.decoder import Decoder
from t2c_search.concepts.describe.folder import read_decoder
from t2c_search.concepts.describe.tokens import BEGIN, END, sentences_of, token_id
from t2c_search.errors import UsageError
from t2c_search.query.planning.texts import EmbedTexts
from t2c_search.types import EncoderRef, FloatArray

WIDTH = 4
"""Sentences that beam search follows at a time."""
_ROWS = 64  # described at a time


class Sentence(NamedTuple):
    """A sentence, and its cosine back: that of its text vector with the described point, each less the mean of its kind."""

    text: str
    cosine: float


class Describer:
    """Says in a sentence what a point of CLIP space means."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer) -> None:
        """Speak with a decoder, on the device that it is on."""
        self._decoder, self._tokenizer = decoder.eval(), tokenizer
        begin, end = (token_id(tokenizer, token) for token in (BEGIN, END))
        self._ends = beam.Ends(begin, end, decoder.shape.context)

    def describe(self, points: FloatArray, centre: FloatArray, embed_texts: EmbedTexts) -> list[Sentence]:
        """Return a sentence for each of (n, d) points: unit rows, or means of such; ``centre`` (d,) is the mean of their kind.

        A point less the centre is carried onto the memory of texts (DeCap, Li et al., ICLR 2023); the sentence is the best
        that beam search finds from there.
        """
        rows = F.normalize(torch.from_numpy((points - centre).astype(np.float32)), dim=1)
        found: list[Sentence] = []
        for part in torch.split(rows, _ROWS):
            texts = self._say(part)
            vectors = self._decoder.centred(torch.from_numpy(embed_texts(texts)))
            found += map(Sentence, texts, (vectors * part).sum(1).tolist())
        return found

    @torch.inference_mode()
    def _say(self, rows: torch.Tensor) -> list[str]:
        """Return the best sentence for each of (n, d) centred rows."""
        recalled = self._decoder.recall(rows)

        def next_word(which: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self._decoder(recalled[which], tokens)
            return logits[:, -1].log_softmax(1)

        tokens, _ = beam.search(next_word, len(rows), WIDTH, self._ends)
        return sentences_of(self._tokenizer, tokens[:, 0])


def load_describer(folder: str | Path, clip: EncoderRef) -> Describer:
    """Load the decoder in a folder, for the space of a CLIP model.

    Raises EncoderError where there is none that can be read, UsageError for one of another CLIP model's space.
    """
    card, decoder, tokenizer = read_decoder(Path(folder))
    if difference := card.clip.difference(clip):
        raise UsageError(
            f"the decoder in {folder} was trained in the space of {card.clip.id!r}, not of {clip.id!r}, which has other "
            f"{difference}: train one with t2c fit-decoder CAPTIONS --clip {clip.id} -o FOLDER"
        )
    return Describer(decoder, tokenizer)
