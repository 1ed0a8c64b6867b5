"""Factors of a text's tokens: which words made its vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from t2c_search.attribution.factors import Token, TokenFactors
from t2c_search.attribution.integrals import NODES, attention_parts
from t2c_search.attribution.projection import hold
from t2c_search.encoders.capabilities import AttentionPooledTexts
from t2c_search.encoders.pool import exclusive
from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from t2c_search.encoders.protocols import TextEncoder

_AT_ONCE = 32  # texts


def token_factors(encoder: TextEncoder, texts: Sequence[str]) -> TokenFactors:
    """Return the factors of n texts' tokens, on the encoder's device.

    They are integrated Jacobians (analytic) where the encoder shows its last attention. A text's reference is padding between
    start and end, of its length; the base holds what that gives, and what came by the token that reads the others, which
    carries what former blocks have gathered. Raises UsageError without texts.
    """
    if not texts:
        raise UsageError("no texts were given whose words could be told apart: expected one or more")
    with torch.no_grad(), exclusive(encoder):
        found = [_analytic(encoder, texts[at : at + _AT_ONCE]) for at in range(0, len(texts), _AT_ONCE)]
    longest = max(each.parts.shape[1] for each in found)
    parts = [torch.nn.functional.pad(each.parts, (0, 0, 0, longest - each.parts.shape[1])) for each in found]
    return TokenFactors(
        torch.cat([each.vectors for each in found]),
        torch.cat([each.base for each in found]),
        torch.cat(parts),
        found[0].method,
        tuple(token for each in found for token in each.tokens),
    )


def find_tokens(text: str, written: Sequence[str]) -> tuple[Token, ...]:
    """Find tokens in their text, in order and whatever their case; one that is not there as it is written is empty."""
    lower, found, at = text.lower(), [], 0
    for token in written:
        start = lower.find(token.lower(), at) if token else -1
        if start >= 0:
            at = start + len(token)
        found.append(Token(token, start, at) if start >= 0 else Token(token, at, at))
    return tuple(found)


def _analytic(encoder: AttentionPooledTexts, texts: Sequence[str]) -> TokenFactors:
    pooling, tokens = encoder.text_pooling, encoder.text_tokens(texts)
    rows = pooling.rows(tokens.values, tokens.seen)
    parts = attention_parts(pooling, tokens.references, tokens.values, NODES, tokens.seen)
    longest = max(map(len, tokens.words))
    is_word = torch.zeros(parts.shape[:2], dtype=torch.bool)
    for row, words in zip(is_word, tokens.words, strict=True):
        row[tokens.start : tokens.start + len(words)] = True
    is_word = is_word.to(parts.device).unsqueeze(2)
    base = pooling.rows(tokens.references, tokens.seen) + (parts * ~is_word).sum(1)
    held = hold(rows, None)
    return TokenFactors(
        held.base + held.map(rows),
        held.base + held.map(base),
        held.map((parts * is_word)[:, tokens.start : tokens.start + longest]),
        "analytic",
        tuple(find_tokens(text, words) for text, words in zip(texts, tokens.words, strict=True)),
    )
