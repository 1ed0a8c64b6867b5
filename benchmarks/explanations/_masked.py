"""Pictures with places taken out, and what is left of a text's score: deletion and insertion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.explanations._models import Model, Picture

FORWARD = 64  # masked pictures in one forward pass
STEPS = 9  # in which a picture's places go


def masked_scores(model: Model, pixels: Tensor, grid: tuple[int, int], kept: Tensor, rows: Tensor) -> Tensor:
    """The scores (m, k) of one picture (3, h, w) by k rows under m masks (m, places), 0 where a place has the mean colour."""
    found = []
    for part in kept.split(FORWARD):
        shown = interpolate(part.to(pixels).view(-1, 1, *grid), pixels.shape[-2:], mode="nearest")
        with torch.no_grad():
            found.append(model.rows(pixels * shown) @ rows.T)
    return torch.cat(found)


def curves(
    model: Model, pictures: Sequence[Picture], rows: Tensor, places: Tensor, grid: tuple[int, int]
) -> dict[str, float]:
    """Mean scores about the mean on the way to an empty picture, places taken out best first, and on the way back.

    Each picture has a row (n, d) and a map (n, places) of its own; beside both the same in a random order.
    """
    generator = torch.Generator().manual_seed(0)
    totals = torch.zeros(4)
    for picture, row, own in zip(pictures, rows, places, strict=True):
        best_first, at_random = own.argsort(descending=True), torch.randperm(len(own), generator=generator)
        kept = [_taken_out(order) for order in (best_first, at_random)]
        masks = torch.cat([*kept, *(1 - each for each in kept)])
        scores = masked_scores(model, model.pixels([picture])[0], grid, masks, row[None])[:, 0] - row @ model.mean
        totals += scores.view(4, -1).mean(1)
    names = ("deletion", "random deletion", "insertion", "random insertion")
    return dict(zip(names, (totals / len(pictures)).tolist(), strict=True))


def _taken_out(order: Tensor) -> Tensor:
    """Masks (STEPS + 1, places) that take the places out in an order, from none to all."""
    rank = order.argsort()
    return torch.stack([(rank >= round(step * len(order) / STEPS)).float() for step in range(STEPS + 1)])
