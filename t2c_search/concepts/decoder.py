"""Sentences from vectors of CLIP space, by a small language model that was trained on text alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

from t2c_search.errors import EncoderError, UsageError
from t2c_search.types import FloatArray

PAD, BEGIN, END = "[PAD]", "[BOS]", "[EOS]"


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes of a decoder: tokens, CLIP dimension, transformer, and how many texts its memory holds."""

    vocabulary: int
    dim: int
    width: int
    layers: int
    heads: int
    context: int
    memory: int
    temperature: float


class Decoder(nn.Module):
    """A causal transformer whose first position is a CLIP vector and whose others are the words so far."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.prefix = nn.Linear(shape.dim, shape.width)
        self.token_embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.position_embedding = nn.Parameter(torch.randn(shape.context + 1, shape.width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            shape.width, shape.heads, 4 * shape.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(
            layer, shape.layers, norm=nn.LayerNorm(shape.width), enable_nested_tensor=False
        )
        self.register_buffer("memory", torch.zeros(shape.memory, shape.dim))
        self.memory: torch.Tensor

    def forward(self, vectors: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Map (n, dim) unit rows and (n, t) tokens to the logits of the next word after each, (n, t + 1, vocabulary)."""
        words = torch.cat([self.prefix(vectors)[:, None], self.token_embedding(tokens)], 1)
        length = words.shape[1]
        mask = torch.full((length, length), float("-inf"), device=words.device).triu(1)
        hidden = self.blocks(words + self.position_embedding[:length], mask=mask, is_causal=True)
        return F.linear(hidden, self.token_embedding.weight)

    def recall(self, vectors: torch.Tensor) -> torch.Tensor:
        """Carry (n, dim) vectors among the text vectors: a softmax-weighted mean of the memory, unit rows (n, dim).

        DeCap's projection-based decoding (Li et al., ICLR 2023, eq. 3-4): image vectors lie apart from text vectors, which
        are all that the decoder was trained on.
        """
        cosines = F.normalize(vectors, dim=1) @ self.memory.T
        return F.normalize((cosines / self.shape.temperature).softmax(1) @ self.memory, dim=1)


class Describer:
    """Says in a sentence what a vector of CLIP space means, with the decoder in a folder."""

    def __init__(self, folder: Path) -> None:
        """Load ``config.json``, ``model.safetensors`` and ``tokenizer.json``. Raises EncoderError when one is missing."""
        missing = [n for n in ("config.json", "model.safetensors", "tokenizer.json") if not (folder / n).is_file()]
        if missing:
            raise EncoderError(f"no decoder in {folder}: {', '.join(missing)} missing")
        shape = DecoderShape(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
        self._model = Decoder(shape).eval()
        self._model.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._vocabulary: dict[str, int] = self._tokenizer.get_vocab()

    @torch.inference_mode()
    def describe(self, vectors: FloatArray) -> list[str]:
        """One sentence for each row of (n, d_clip) float32; the rows' lengths do not matter.

        Raises UsageError when the rows have not the dimension of the CLIP space that the decoder was trained in.
        """
        shape = self._model.shape
        if vectors.ndim != 2 or vectors.shape[1] != shape.dim:
            raise UsageError(f"the decoder takes rows of {shape.dim} numbers, got an array of shape {vectors.shape}")
        recalled = self._model.recall(torch.from_numpy(np.ascontiguousarray(vectors, np.float32)))
        begin, end = (self._vocabulary[token] for token in (BEGIN, END))
        tokens = torch.full((len(vectors), 1), begin)
        done = torch.zeros(len(vectors), dtype=torch.bool)
        while tokens.shape[1] < shape.context and not bool(done.all()):
            following = self._model(recalled, tokens)[:, -1].argmax(1)
            following[done] = end
            done |= following == end
            tokens = torch.cat([tokens, following[:, None]], 1)
        rows = [row[1 : row.index(end)] if end in row else row[1:] for row in tokens.tolist()]
        sentences: list[str] = self._tokenizer.decode_batch(rows)
        return sentences


def write_shape(shape: DecoderShape, folder: Path) -> None:
    """Write ``config.json``, from which ``Describer`` builds the model again."""
    (folder / "config.json").write_text(json.dumps(asdict(shape), indent=2) + "\n", encoding="utf-8")
