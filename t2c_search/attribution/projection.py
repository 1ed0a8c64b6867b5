"""From a backbone's space to CLIP space, part by part: the projection with its norms held constant."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from t2c_search.alignment.aligner import Aligner


class Unprojected:
    """In an aligner's place: rows stay as the backbone gives them, with their lengths, so that they can be projected later."""


UNPROJECTED = Unprojected()


@dataclass(frozen=True, slots=True, eq=False)
class HeldProjection:
    """A projection of n rows to unit rows, made affine by holding each row's norms as they are.

    ``base + map(rows)`` is the projection of those rows themselves; and as ``map`` is linear, a sum of parts goes through it
    part by part. Without that the parts of a cosine could not add up to it (METHODS: hold 1/(|g||h|) of the actual pair).
    """

    base: torch.Tensor
    """(n, d)"""
    scale: torch.Tensor
    """(n, 1): one over what each row was divided by before the weight."""
    weight: torch.Tensor | None
    """(d_backbone, d), or None for the identity."""
    stretch: torch.Tensor
    """(n, 1): what a row's component across the axis was multiplied by."""
    axis: torch.Tensor
    """(d,): what is along it keeps its length; unit or zero."""

    def map(self, parts: torch.Tensor) -> torch.Tensor:
        """Map parts (n, ..., d_backbone) of the n rows to parts (n, ..., d) of their projections."""
        wide = (len(self.scale),) + (1,) * (parts.ndim - 1)
        points = parts * self.scale.view(wide)
        if self.weight is not None:
            points = points @ self.weight
        along = (points @ self.axis).unsqueeze(-1) * self.axis
        return along + self.stretch.view(wide) * (points - along)

    def pull(self, cotangents: torch.Tensor) -> torch.Tensor:
        """Map cotangents (n, ..., d) back to (n, ..., d_backbone): the transpose of ``map``."""
        wide = (len(self.scale),) + (1,) * (cotangents.ndim - 1)
        along = (cotangents @ self.axis).unsqueeze(-1) * self.axis
        points = along + self.stretch.view(wide) * (cotangents - along)
        if self.weight is not None:
            points = points @ self.weight.T
        return points * self.scale.view(wide)


def hold(rows: torch.Tensor, aligner: Aligner | Unprojected | None) -> HeldProjection:
    """Hold the norms of n rows (n, d_backbone), as the aligner meets them; without one rows are made unit rows.

    The result is of the rows' dtype. Raises AlignmentError for rows of another width than the aligner's.
    """
    if aligner is None or isinstance(aligner, Unprojected):
        length = rows.norm(dim=1, keepdim=True)
        ones, axis = torch.ones_like(length), rows.new_zeros(rows.shape[1])
        return HeldProjection(torch.zeros_like(rows), ones if aligner else 1 / length, None, ones, axis)
    aligner.affine(rows[:1])  # for its refusal of another width
    weight, bias, axis = (tensor.to(rows) for tensor in (aligner.weight, aligner.bias, aligner.axis))
    scale = 1 / rows.norm(dim=1, keepdim=True) if aligner.transform == "unit" else torch.ones_like(rows[:, :1])
    points = (rows * scale) @ weight + bias
    component = (points @ axis).unsqueeze(1)
    rest = points - component * axis
    # As in ``place_on_sphere``, whose clamp only matters for rows that lie along the axis alone.
    stretch = (1 - component.clamp(-1, 1) ** 2).sqrt() / rest.norm(dim=1, keepdim=True)
    base = HeldProjection(points, torch.ones_like(scale), None, stretch, axis).map(bias.expand_as(points))
    return HeldProjection(base, scale, weight, stretch, axis)
