"""open_clip's towers opened: how images are read off their tokens (``AttentionPooling``), and texts (``TextTokens``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from torch.nn import Identity
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
        case VisionTransformer(attn_pool=AttentionalPooler(), attn_pool_contrastive=None, pool_type="tok") if (
            not layers
        ):
            return _by_learnt_query(visual)
    return None


def projected(visual: VisionTransformer) -> Forward:
    """Return what an image tower does in the end."""
    return lambda pooled: pooled if visual.proj is None else pooled @ visual.proj


@dataclass(frozen=True, slots=True)
class TextTower:
    """The text side of a CLIP model, which can be entered at any block."""

    tower: Any
    pool_type: str
    end: int | None
    tokenizer: Any

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> TextTower | None:
        """Return the text side of a model; None for one of a kind that is not known."""
        tower = getattr(model, "text", model)
        if not tower.transformer.batch_first:
            return None
        if tower is model:
            return cls(tower, tower.text_pool_type, tower.text_eos_id, tokenizer)
        if not isinstance(tower, TextTransformer) or tower.cls_emb is not None or tower.use_pad_mask:
            return None
        return cls(tower, tower.pool_type, tower.eos_id, tokenizer)

    def tokens(self, texts: Sequence[str], block: int = 0) -> TextTokens:
        """Return what comes into a block: see ``TokenizedTexts``."""
        tower, device = self.tower, self.tower.positional_embedding.device
        empty, ids = self.tokenizer([""])[0], self.tokenizer(list(texts))
        start = int((ids[:, 0] == empty[0]).all())  # a token for the start, where there is one, begins every text
        positions = torch.arange(ids.shape[1])
        ends = torch.where(ids == empty[start], positions, len(positions)).amin(1)
        words = (positions >= start) & (positions < ends.unsqueeze(1))
        readers = text_global_pool(positions.expand_as(ids).unsqueeze(2), ids, self.pool_type, self.end).squeeze(1)
        length = len(positions) if tower.attn_mask is None else int(readers.max()) + 1
        mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
        blocks, rows = tower.transformer.resblocks, torch.arange(len(ids))

        def read(values: Tensor) -> Tensor:
            for each in blocks[block:]:
                values = each(values, attn_mask=mask)
            return self._projected(tower.ln_final(values[rows, readers]))

        both = torch.cat([ids, torch.where(words, empty[-1], ids)])[:, :length].to(device)
        entering = tower.token_embedding(both) + tower.positional_embedding[:length]
        for each in blocks[:block]:
            entering = each(entering, attn_mask=mask)
        written = tuple(tuple(map(self._written, row[kept].tolist())) for row, kept in zip(ids, words, strict=True))
        values, references = entering.chunk(2)
        return TextTokens(values, references, written, start, read)

    def _projected(self, rows: Tensor) -> Tensor:
        match self.tower.text_projection:
            case None:
                return rows
            case torch.nn.Linear() as projection:
                return projection(rows)  # type: ignore[no-any-return]
            case matrix:
                return rows @ matrix  # type: ignore[no-any-return]

    def _written(self, token: int) -> str:
        decoded: str = getattr(self.tokenizer, "tokenizer", self.tokenizer).decode([token])
        return decoded.strip().removeprefix("##")


def _by_class_token(visual: VisionTransformer, layers: int) -> Pooled | None:
    blocks, count = visual.transformer.resblocks, max(layers, 1)
    if not visual.transformer.batch_first or not all(isinstance(block, ResidualAttentionBlock) for block in blocks):
        return None

    def tokens(pixels: Tensor) -> tuple[FeatureMap, ...]:
        found = inputs(blocks, visual._embeds(pixels), count)
        return tuple(FeatureMap(each, visual.grid_size) for each in (found[-1], *found[:layers]))

    stages = [_of_block(block, visual.ln_post) for block in blocks[-count:]][:layers]
    return Pooled((_of_block(blocks[-1], in_turn(visual.ln_post, projected(visual))), *stages), tokens)


def _by_learnt_query(visual: VisionTransformer) -> Pooled:
    """CoCa's: the first of several learnt queries makes the row."""
    features = in_turn(visual._embeds, visual.transformer)
    pooling = _of_pooler(visual.attn_pool, in_turn(visual.ln_post, projected(visual)))
    return Pooled((pooling,), lambda pixels: (FeatureMap(features(pixels), visual.grid_size),))


def _of_mean(pool: AttentionPool2d) -> AttentionPooling:
    """Return the pooling of CLIP's ResNets, whose query is the mean of the places."""
    heads = _split(pool.num_heads)
    scale = (pool.q_proj.out_features // pool.num_heads) ** -0.5
    return AttentionPooling(
        query=lambda first: heads(pool.q_proj(first)) * scale,
        norm=Identity(),
        project=lambda tokens: torch.cat([pool.k_proj(tokens), pool.v_proj(tokens)], -1),
        keys_values=_keys_values(heads),
        finish=lambda attended, first: pool.c_proj(attended),
        first="mean",
    )


def _tokens_with_mean(visual: ModifiedResNet, pixels: Tensor) -> FeatureMap:
    """Return the mean and the places, with their position embeddings."""
    features = in_turn(visual.stem, visual.layer1, visual.layer2, visual.layer3, visual.layer4)(pixels)
    places = features.flatten(2).transpose(1, 2)
    tokens = torch.cat([places.mean(1, keepdim=True), places], 1) + visual.attnpool.positional_embedding
    return FeatureMap(tokens, (features.shape[2], features.shape[3]))


def _of_pooler(pool: AttentionalPooler, after: Forward) -> AttentionPooling:
    """Return what the first of a pooler's learnt queries reads."""
    attention, heads = pool.attn, _split(pool.attn.num_heads)

    def project(at: int, values: Tensor) -> Tensor:
        separate = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
        together = attention.in_proj_weight
        weight = separate[at] if together is None else together.chunk(3)[at]
        return linear(values, weight, attention.in_proj_bias.chunk(3)[at])

    def query(first: Tensor) -> Tensor:
        asked = heads(project(0, pool.ln_q(pool.query[:1])))
        scaled: Tensor = asked * asked.shape[-1] ** -0.5
        return scaled.expand(len(first), -1, -1)

    return AttentionPooling(
        query,
        pool.ln_k,
        lambda tokens: torch.cat([project(1, tokens), project(2, tokens)], -1),
        _keys_values(heads),
        lambda attended, first: after(attention.out_proj(attended)),
    )


def _of_block(block: ResidualAttentionBlock, after: Forward) -> AttentionPooling:
    attention = block.attn
    heads, width = _split(attention.num_heads), attention.embed_dim
    scale = (width // attention.num_heads) ** -0.5

    def projected(start: int, stop: int) -> Forward:
        """Return what makes queries (0), keys (1) and values (2) of normed tokens."""
        rows = slice(start * width, stop * width)
        return lambda normed: linear(normed, attention.in_proj_weight[rows], attention.in_proj_bias[rows])

    def query(first: Tensor) -> Tensor:
        return heads(projected(0, 1)(block.ln_1(first))) * scale  # type: ignore[no-any-return]

    def finish(attended: Tensor, first: Tensor) -> Tensor:
        row = first + block.ls_1(attention.out_proj(attended))
        return after(row + block.ls_2(block.mlp(block.ln_2(row))))

    return AttentionPooling(query, block.ln_1, projected(1, 3), _keys_values(heads), finish, "class")


def _keys_values(heads: Forward) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    def split(projected: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = projected.chunk(2, -1)
        return heads(keys), heads(values)

    return split


def _split(heads: int) -> Forward:
    """Return what splits (..., heads * e) into (..., heads, e)."""
    return lambda values: values.unflatten(-1, (heads, -1))  # type: ignore[no-untyped-call]
