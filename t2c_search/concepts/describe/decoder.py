"""The decoder: a causal transformer that goes on from a CLIP vector, and its memory of texts' vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


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


class Decoder(nn.Module):
    """A causal transformer whose first position is a CLIP vector and whose others are the words so far.

    ``memory`` (m, dim) are unit rows of texts, ``centre`` (dim,) is the mean text's, and ``temperature`` says over how many of
    those nearby a vector is spread. All vectors that it reads are centred: less the mean of their kind, then unit rows.
    """

    memory: torch.Tensor
    centre: torch.Tensor
    temperature = 0.01

    def __init__(self, shape: DecoderShape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.prefix = nn.Linear(shape.dim, shape.width)
        self.token_embedding = nn.Embedding(shape.vocabulary, shape.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)  # it also makes the logits
        self.position_embedding = nn.Parameter(torch.randn(shape.context + 1, shape.width) * 0.02)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(
            shape.width,
            shape.heads,
            4 * shape.width,
            dropout=dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(
            layer, shape.layers, norm=nn.LayerNorm(shape.width), enable_nested_tensor=False
        )
        self.register_buffer("memory", torch.zeros(shape.memory, shape.dim))
        self.register_buffer("centre", torch.zeros(shape.dim))

    def forward(self, vectors: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Map (n, dim) centred rows and (n, t) tokens to the logits of the next word after each, (n, t + 1, vocabulary)."""
        words = torch.cat([self.prefix(vectors)[:, None], self.token_embedding(tokens)], 1)
        length = words.shape[1]
        mask = torch.full((length, length), float("-inf"), device=words.device).triu(1)
        hidden = self.blocks(self.dropout(words + self.position_embedding[:length]), mask=mask, is_causal=True)
        return F.linear(hidden, self.token_embedding.weight)

    def centred(self, texts: torch.Tensor) -> torch.Tensor:
        """Return texts' vectors (n, dim) less the mean text's, unit rows."""
        return F.normalize(texts - self.centre, dim=1)

    def recall(self, vectors: torch.Tensor) -> torch.Tensor:
        """Carry centred rows (n, dim) among the texts': a softmax-weighted mean of the memory, unit rows (n, dim).

        DeCap's projection-based decoding (Li et al., ICLR 2023, eq. 3-4): image vectors lie apart from text vectors, which
        are all that the decoder was trained on.
        """
        memory = self.centred(self.memory)
        return F.normalize((F.normalize(vectors, dim=1) @ memory.T / self.temperature).softmax(1) @ memory, dim=1)
