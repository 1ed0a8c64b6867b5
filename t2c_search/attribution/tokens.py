"""Factors of a text's tokens: which words made its vector."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import jvp, vmap
from torch.nn.functional import pad

from t2c_search.attribution.banzhaf import Masks, additive
from t2c_search.attribution.factors import Token, TokenFactors, warn_of_residual
from t2c_search.attribution.integrals import gauss_legendre, plain_attention
from t2c_search.attribution.projection import hold
from t2c_search.encoders.capabilities import TokenizedTexts
from t2c_search.encoders.pool import exclusive
from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from t2c_search.encoders.capabilities import TextTokens
    from t2c_search.encoders.protocols import TextEncoder

_NODES = (8, 16, 32, 64)  # in turn: a whole tower bends more than the last block of an image's; 8 or 16 mostly do
_ENOUGH = 0.01  # residual, as a part of what the words should add up to
_TEXTS = 16  # at once
_AT_ONCE = 2**22  # numbers in the tangents of all tokens


def token_factors(encoder: TextEncoder, texts: Sequence[str], block: int = 0) -> TokenFactors:
    """Return the factors of n texts' tokens, on the encoder's device: integrated Jacobians, by forward mode.

    Of an encoder that does not show its tokens they are Banzhaf values of words, from texts without some of them.

    A text's reference is padding between start and end, of its length, and what it gives is in the base. They are taken at
    the input of a block. Into the first one (0) start and end come as they do into the reference's, so that the words account
    for the whole difference; into the last one (-1), the published choice, most has been gathered by the end token, whose part
    is in the base. Raises UsageError without texts, and for an encoder that knows whole texts only.
    """
    if not texts:
        raise UsageError("no texts were given whose words could be told apart: expected one or more")
    if encoder.vocabulary is not None:
        raise UsageError(f"{encoder.id!r} knows whole texts only, precomputed, so that no word of one can be left out")
    with torch.no_grad(), exclusive(encoder):
        if isinstance(encoder, TokenizedTexts):
            batches = [texts[at : at + _TEXTS] for at in range(0, len(texts), _TEXTS)]
            found = [_integrated(batch, encoder.text_tokens(batch, block)) for batch in batches]
        else:
            found = [_masked(encoder, text) for text in texts]
    longest = max(each.parts.shape[1] for each in found)
    whole = TokenFactors(
        torch.cat([each.vectors for each in found]),
        torch.cat([each.base for each in found]),
        torch.cat([pad(each.parts, (0, 0, 0, longest - each.parts.shape[1])) for each in found]),
        found[0].method,
        tuple(token for each in found for token in each.tokens),
    )
    if whole.method == "jacobian":
        warn_of_residual(whole, "texts")
    return whole


def find_tokens(text: str, written: Sequence[str]) -> tuple[Token, ...]:
    """Find tokens in their text, in order and whatever their case; one that is not there as it is written is empty."""
    lower, found, at = text.lower(), [], 0
    for token in written:
        start = lower.find(token.lower(), at)
        stop = start + len(token)
        found.append(Token(token, start, stop) if start >= 0 else Token(token, at, at))
        at = max(at, stop) if start >= 0 else at
    return tuple(found)


def _masked(encoder: TextEncoder, text: str) -> TokenFactors:
    """Return the factors of a text's words: weighted Banzhaf values, from the text without the words that a mask leaves out."""
    words = text.split()
    rows = encoder.encode_texts([text])
    if not words:
        return TokenFactors(rows, rows, rows.new_zeros(1, 0, rows.shape[1]), "banzhaf", ((),))
    masks = Masks((1, len(words)))
    shortened = [" ".join(compress(words, kept)) for kept in masks.drawn()[0]]
    base, parts, _, _ = additive(masks, encoder.encode_texts(shortened).unsqueeze(0))
    return TokenFactors(rows, base, parts, "banzhaf", (find_tokens(text, words),))


def _integrated(texts: Sequence[str], tokens: TextTokens) -> TokenFactors:
    lengths = torch.tensor([len(words) for words in tokens.words])
    positions = torch.arange(tokens.values.shape[1]) - tokens.start
    is_word = ((positions >= 0) & (positions < lengths.unsqueeze(1))).unsqueeze(2).to(tokens.values.device)
    rows, start = tokens.read(tokens.values), tokens.read(tokens.references)
    held = hold(rows, None)
    for nodes in _NODES:
        moved = _moved(tokens, nodes)
        found = TokenFactors(
            held.map(rows),
            held.map(start + (moved * ~is_word).sum(1)),
            held.map(moved * is_word)[:, tokens.start : tokens.start + int(lengths.max())],
            "jacobian",
            tuple(find_tokens(text, words) for text, words in zip(texts, tokens.words, strict=True)),
        )
        if (found.unexplained <= _ENOUGH).all():
            break
    return found


def _moved(tokens: TextTokens, nodes: int) -> Tensor:
    """Return what each position gave to the change of the rows from the references' to the texts', (n, positions, d)."""
    delta = tokens.values - tokens.references
    alone = torch.eye(delta.shape[1]).to(delta).unsqueeze(2)
    at_once = max(1, _AT_ONCE // delta.numel())

    def along(at: Tensor) -> Tensor:
        return vmap(lambda only: jvp(tokens.read, (at,), (delta * only,))[1], chunk_size=at_once)(alone)  # type: ignore[no-any-return]

    with plain_attention():
        moved = [weight * along(tokens.references + point * delta) for point, weight in gauss_legendre(nodes)]
    return torch.stack(moved).sum(0).transpose(0, 1)
