"""Which pairs are held out of a fit: chosen by a hash of their ids, in one pass and constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from t2c_search.alignment.moments import PairedMoments

HELD_OUT_SHARE = 0.2
MAX_HELD_OUT = 2_048  # pairs: standard errors of the figures are then about 0.01, in 20 MB at 2,048 + 512 dimensions


def split(batches: Iterable[tuple[Sequence[str], Tensor, Tensor]]) -> tuple[PairedMoments | None, Tensor, Tensor]:
    """Return the moments of the pairs to fit on, and the rows x (h, d_x) and y (h, d_y) of those held out.

    Held out are the pairs of lowest hash: a fifth, at most ``MAX_HELD_OUT``, the same ones in whatever order and
    batches they come. No pairs at all give None and empty rows.
    """
    kept_keys: list[int] = []
    kept_x = kept_y = torch.empty(0, 0)
    moments: PairedMoments | None = None
    for ids, x, y in batches:
        if moments is None:
            moments = PairedMoments(x.shape[1], y.shape[1], x.device)
            kept_x, kept_y = x[:0], y[:0]
        kept_keys += [_key(i) for i in ids]
        kept_x, kept_y = torch.cat([kept_x, x]), torch.cat([kept_y, y])
        lowest, rest = _lowest(kept_keys, MAX_HELD_OUT)
        moments.add(kept_x[rest], kept_y[rest])
        kept_keys, kept_x, kept_y = [kept_keys[i] for i in lowest], kept_x[lowest], kept_y[lowest]
    if moments is None:
        return None, kept_x, kept_y
    held_out = min(MAX_HELD_OUT, round(HELD_OUT_SHARE * (moments.count + len(kept_keys))))
    lowest, rest = _lowest(kept_keys, held_out)
    moments.add(kept_x[rest], kept_y[rest])
    return moments, kept_x[lowest], kept_y[lowest]


def _key(identity: str) -> int:
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "big")


def _lowest(keys: list[int], count: int) -> tuple[list[int], list[int]]:
    """Return the positions of the ``count`` lowest keys, ascending by key, and of all others."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return order[:count], order[count:]
