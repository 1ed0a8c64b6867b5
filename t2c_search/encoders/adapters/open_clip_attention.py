"""Attention pooling of open_clip's towers, of images and of texts.

See ``AttentionPooling``: how a row is read off tokens, taken out of the modules that do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import (
    AttentionalPooler,
    ResidualAttentionBlock,
    TextTransformer,
    VisionTransformer,
    text_global_pool,
)
from torch import Tensor
from torch.nn.functional import linear

from t2c_search.encoders.adapters import timm_attention
from t2c_search.encoders.adapters.anatomy import Forward, Pooled, in_turn, inputs
from t2c_search.encoders.capabilities import AttentionPooling, FeatureMap, TextTokens


def pooled_of(visual: torch.nn.Module, layers: int = 0) -> Pooled | None:
    """Return how an image tower's row is read off its tokens, and with ``layers`` those of its last blocks beside it.

    None for a kind of tower that is not known.
    """
    match visual:
        case TimmModel():
            return timm_attention.pooled_of(visual.trunk, layers, visual.head)
        case ModifiedResNet() if not layers:
            return Pooled((_of_mean(visual.attnpool),), lambda pixels: (_tokens_with_mean(visual, pixels),))
        case VisionTransformer(attn_pool=None, pool_type="tok"):
            return _by_class_token(visual, layers)
        case VisionTransformer(attn_pool=AttentionalPooler()) if not layers:
            return _by_learnt_query(visual)
    return None


def of_block(block: Any, after: Forward) -> AttentionPooling | None:
    """Return how the first token reads the tokens that come into a block; ``after`` maps what it is then to rows.

    None for a kind of block that is not known.
    """
    return _of_block(block, after) if isinstance(block, ResidualAttentionBlock) else None


def projected(visual: VisionTransformer) -> Forward:
    """Return what an image tower does in the end."""
    return lambda pooled: pooled if visual.proj is None else pooled @ visual.proj


@dataclass(frozen=True, slots=True)
class PooledTexts:
    """The text side of a CLIP model: how it reads a text off its tokens, and what comes into its last block."""

    pooling: AttentionPooling
    tower: Any
    pool_type: str
    end: int | None
    tokenizer: Any

    def tokens(self, texts: Sequence[str]) -> TextTokens:
        """Return n texts as the last block takes them: see ``AttentionPooledTexts``."""
        tower, device = self.tower, self.tower.positional_embedding.device
        empty, ids = self.tokenizer([""])[0], self.tokenizer(list(texts))
        start = int((ids[:, 0] == empty[0]).all())  # tokenizers with a token for the start have it in all texts
        positions = torch.arange(ids.shape[1])
        ends = torch.where(ids == empty[start], positions, len(positions)).amin(1)
        words = (positions >= start) & (positions < ends.unsqueeze(1))
        readers = text_global_pool(positions.expand_as(ids).unsqueeze(2), ids, self.pool_type, self.end).squeeze(1)
        length = len(positions) if tower.attn_mask is None else int(readers.max()) + 1
        both = torch.cat([ids, torch.where(words, empty[-1], ids)])[:, :length].to(device)
        embedded = tower.token_embedding(both) + tower.positional_embedding[:length]
        mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
        (tokens,) = inputs(tower.transformer.resblocks, embedded, 1, attn_mask=mask)
        values, references = torch.cat([tokens[range(len(both)), readers.repeat(2)].unsqueeze(1), tokens], 1).chunk(2)
        seen = positions[:length] != readers.unsqueeze(1)
        if mask is not None:
            seen &= mask.cpu()[readers] == 0
        seen = torch.cat([torch.ones_like(seen[:, :1]), seen], 1).to(device)
        written = tuple(tuple(map(self._written, row[kept].tolist())) for row, kept in zip(ids, words, strict=True))
        return TextTokens(values, references, seen, written, 1 + start)

    def _written(self, token: int) -> str:
        decoded: str = getattr(self.tokenizer, "tokenizer", self.tokenizer).decode([token])
        return decoded.strip().removeprefix("##")


def pooled_texts_of(model: Any, tokenizer: Any) -> PooledTexts | None:
    """Return how a CLIP model reads texts; None for a text side that is not known."""
    custom = hasattr(model, "text")
    tower = model.text if custom else model
    if custom and (not isinstance(tower, TextTransformer) or tower.cls_emb is not None or tower.use_pad_mask):
        return None
    if not tower.transformer.batch_first:
        return None
    projection = tower.text_projection

    def project(rows: Tensor) -> Tensor:
        if projection is None or isinstance(projection, torch.nn.Linear):
            return rows if projection is None else projection(rows)
        return rows @ projection

    pooling = of_block(tower.transformer.resblocks[-1], in_turn(tower.ln_final, project))
    kind, end = (tower.pool_type, tower.eos_id) if custom else (tower.text_pool_type, tower.text_eos_id)
    return pooling and PooledTexts(pooling, tower, kind, end, tokenizer)


def _by_class_token(visual: VisionTransformer, layers: int) -> Pooled | None:
    blocks, count = visual.transformer.resblocks, max(layers, 1)
    found = [of_block(block, visual.ln_post) for block in blocks[-count:]][:layers]
    poolings = (of_block(blocks[-1], in_turn(visual.ln_post, projected(visual))), *found)
    if None in poolings or not visual.transformer.batch_first:
        return None

    def tokens(pixels: Tensor) -> tuple[FeatureMap, ...]:
        found = inputs(blocks, visual._embeds(pixels), count)
        return tuple(FeatureMap(each, visual.grid_size) for each in (found[-1], *found[:layers]))

    return Pooled(poolings, tokens)


def _by_learnt_query(visual: VisionTransformer) -> Pooled | None:
    """CoCa's: the first of several learnt queries makes the row, or one of a pooler for it alone."""
    before, after = torch.nn.Identity(), in_turn(visual.ln_post, projected(visual))
    pool = visual.attn_pool
    if visual.attn_pool_contrastive is not None:
        before, after, pool = visual.ln_post, projected(visual), visual.attn_pool_contrastive
    if visual.attn_pool_type == "cascade" or visual.pool_type not in ("tok", "none"):
        return None
    features = in_turn(visual._embeds, visual.transformer, before)
    return Pooled((_of_pooler(pool, after),), lambda pixels: (FeatureMap(features(pixels), visual.grid_size),))


def _of_mean(pool: AttentionPool2d) -> AttentionPooling:
    """Return the pooling of CLIP's ResNets, whose query is the mean of the places."""
    heads = _split(pool.num_heads)
    scale = (pool.q_proj.out_features // pool.num_heads) ** -0.5
    return AttentionPooling(
        query=lambda first: heads(pool.q_proj(first)) * scale,
        keys_values=lambda tokens: (heads(pool.k_proj(tokens)), heads(pool.v_proj(tokens))),
        finish=lambda attended, first: pool.c_proj(attended),
        first_is_mean=True,
    )


def _tokens_with_mean(visual: ModifiedResNet, pixels: Tensor) -> FeatureMap:
    """Return the mean and the places, with their position embeddings."""
    features = in_turn(visual.stem, visual.layer1, visual.layer2, visual.layer3, visual.layer4)(pixels)
    places = features.flatten(2).transpose(1, 2)
    tokens = torch.cat([places.mean(1, keepdim=True), places], 1) + visual.attnpool.positional_embedding
    return FeatureMap(tokens, (features.shape[2], features.shape[3]))


def _of_pooler(pool: AttentionalPooler, after: Forward) -> AttentionPooling:
    """Return what the first of a pooler's learnt queries reads."""
    attention = pool.attn
    heads = _split(attention.num_heads)
    width = attention.embed_dim
    in_one = attention.in_proj_weight is not None

    def project(at: int, values: Tensor) -> Tensor:
        separate = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
        weight = attention.in_proj_weight[at * width : (at + 1) * width] if in_one else separate[at]
        return heads(linear(values, weight, attention.in_proj_bias[at * width : (at + 1) * width]))

    def keys_values(tokens: Tensor) -> tuple[Tensor, Tensor]:
        normed = pool.ln_k(tokens)
        return project(1, normed), project(2, normed)

    def query(first: Tensor) -> Tensor:
        asked = project(0, pool.ln_q(pool.query[:1])) * (width // attention.num_heads) ** -0.5
        return asked.expand(len(first), -1, -1)

    return AttentionPooling(query, keys_values, lambda attended, first: after(attention.out_proj(attended)))


def _of_block(block: Any, after: Forward) -> AttentionPooling:
    attention = block.attn
    heads, width = _split(attention.num_heads), attention.embed_dim
    scale = (width // attention.num_heads) ** -0.5

    def project(start: int, stop: int, tokens: Tensor) -> Tensor:
        rows = slice(start * width, stop * width)
        return linear(block.ln_1(tokens), attention.in_proj_weight[rows], attention.in_proj_bias[rows])

    def keys_values(tokens: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = project(1, 3, tokens).chunk(2, -1)
        return heads(keys), heads(values)

    def finish(attended: Tensor, first: Tensor) -> Tensor:
        row = first + block.ls_1(attention.out_proj(attended))
        return after(row + block.ls_2(block.mlp(block.ln_2(row))))

    return AttentionPooling(lambda first: heads(project(0, 1, first)) * scale, keys_values, finish)


def _split(heads: int) -> Forward:
    """Return what splits (..., heads * e) into (..., heads, e)."""
    return lambda values: values.unflatten(-1, (heads, -1))  # type: ignore[no-untyped-call]
