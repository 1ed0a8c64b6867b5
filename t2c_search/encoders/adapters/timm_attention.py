"""Attention pooling of timm's transformers.

See ``AttentionPooling``: how a row is read off tokens, taken out of the modules that do it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timm.layers.attention import Attention
from timm.layers.attention_pool import AttentionPoolLatent
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor
from torch.nn import Identity, LayerNorm
from torch.nn.functional import linear

from t2c_search.encoders.adapters.anatomy import Forward, Pooled, in_turn, inputs
from t2c_search.encoders.capabilities import AttentionPooling, FeatureMap


def pooled_of(module: Any, layers: int = 0, *behind: Forward) -> Pooled | None:
    """Return how a transformer's row is read off its tokens, and with ``layers`` those of its last blocks beside it.

    ``behind`` is what its row goes through in turn. None for a kind of model that is not known.
    """
    if type(module) is not VisionTransformer or not module.patch_embed.grid_size:
        return None
    after = in_turn(module.fc_norm, module.head, *behind)
    if module.attn_pool is None and module.global_pool == "token":
        return _by_class_token(module, layers, in_turn(module.norm, after))
    if isinstance(module.attn_pool, AttentionPoolLatent) and not layers:
        return _by_latent(module, after)
    return None


def _by_class_token(module: Any, layers: int, after: Forward) -> Pooled | None:
    blocks, count = module.blocks, max(layers, 1)
    if not all(map(_is_known, blocks[-count:])):
        return None

    def tokens(pixels: Tensor) -> tuple[FeatureMap, ...]:
        embedded = module.patch_drop(module._pos_embed(module.patch_embed(pixels)))
        found = inputs(blocks, module.norm_pre(embedded), count)
        return tuple(FeatureMap(each, module.patch_embed.grid_size) for each in (found[-1], *found[:layers]))

    stages = [_of_block(block, module.norm) for block in blocks[-count:]][:layers]
    return Pooled((_of_block(blocks[-1], after), *stages), tokens)


def _is_known(block: Any) -> bool:
    return isinstance(block, Block) and type(block.attn) is Attention and isinstance(block.norm1, LayerNorm)


def _by_latent(module: Any, after: Forward) -> Pooled | None:
    """SigLIP's: a learnt query. None with several queries, or positions of its own."""
    pool = module.attn_pool
    if pool.latent_len != 1 or pool.pos_embed is not None:
        return None
    start = 0 if module.pool_include_prefix else module.num_prefix_tokens
    pooling = _of_latent(pool, after)
    return Pooled(
        (pooling,),
        lambda pixels: (FeatureMap(module.forward_features(pixels)[:, start:], module.patch_embed.grid_size),),
    )


def _of_latent(pool: Any, after: Forward) -> AttentionPooling:
    heads = _split(pool.num_heads)

    def query(first: Tensor) -> Tensor:
        asked: Tensor = pool.q_norm(heads(pool.q(pool.latent[:, 0]))) * pool.scale
        return asked.expand(len(first), -1, -1)

    def finish(attended: Tensor, first: Tensor) -> Tensor:
        row = pool.proj(attended)
        return after(row if pool.mlp is None else row + pool.mlp(pool.norm(row)))

    return AttentionPooling(query, Identity(), pool.kv, _keys_values(heads, pool.k_norm), finish)


def _of_block(block: Any, after: Forward) -> AttentionPooling:
    attention = block.attn
    heads, width = _split(attention.num_heads), attention.attn_dim

    def projected(start: int, stop: int) -> Forward:
        """Return what makes queries (0), keys (1) and values (2) of normed tokens."""
        rows, bias = slice(start * width, stop * width), attention.qkv.bias
        return lambda normed: linear(normed, attention.qkv.weight[rows], None if bias is None else bias[rows])

    def query(first: Tensor) -> Tensor:
        return attention.q_norm(heads(projected(0, 1)(block.norm1(first)))) * attention.scale  # type: ignore[no-any-return]

    def finish(attended: Tensor, first: Tensor) -> Tensor:
        attended = attention.norm(attended)
        if attention.gate is not None:
            attended = attended * attention.gate(block.norm1(first)).sigmoid()
        row = first + block.ls1(attention.proj(attended))
        return after(row + block.ls2(block.mlp(block.norm2(row))))

    split = _keys_values(heads, attention.k_norm)
    return AttentionPooling(query, block.norm1, projected(1, 3), split, finish, "class")


def _keys_values(heads: Forward, norm: Forward) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    def split(projected: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = projected.chunk(2, -1)
        return norm(heads(keys)), heads(values)

    return split


def _split(heads: int) -> Forward:
    """Return what splits (..., heads * e) into (..., heads, e)."""
    return lambda values: values.unflatten(-1, (heads, -1))  # type: ignore[no-untyped-call]
