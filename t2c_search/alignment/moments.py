"""Streaming sufficient statistics of paired embeddings: exact, mergeable, of a size that does not grow with n."""

from __future__ import annotations

import torch
from torch import Tensor


class PairedMoments:
    """Count, means and centred products of rows x (d_x) and y (d_y), all float64, from any number of batches.

    ``xx`` is the sum of (x - mean_x)(x - mean_x)' over all rows, (d_x, d_x); ``xy`` and ``yy`` likewise. Batches are
    merged by their means (Chan, Golub and LeVeque 1979), which loses no digits to a large mean as raw sums of squares
    do.
    """

    def __init__(self, dim_x: int, dim_y: int, device: torch.device | str = "cpu") -> None:
        self.count = 0
        self.mean_x = torch.zeros(dim_x, dtype=torch.float64, device=device)
        self.mean_y = torch.zeros(dim_y, dtype=torch.float64, device=device)
        self.xx = torch.zeros(dim_x, dim_x, dtype=torch.float64, device=device)
        self.xy = torch.zeros(dim_x, dim_y, dtype=torch.float64, device=device)
        self.yy = torch.zeros(dim_y, dim_y, dtype=torch.float64, device=device)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Count n more pairs: x (n, d_x) and y (n, d_y), any float type, moved to where the moments are."""
        if len(x) == 0:
            return
        x, y = (rows.to(self.xx.device).double() for rows in (x, y))
        mean_x, mean_y = x.mean(0), y.mean(0)
        x, y = x - mean_x, y - mean_y
        self.xx.addmm_(x.T, x)
        self.xy.addmm_(x.T, y)
        self.yy.addmm_(y.T, y)
        self._shift(len(x), mean_x, mean_y)

    def merge(self, other: PairedMoments) -> None:
        """Count the pairs of other moments too, as if their rows had been added here."""
        if other.count == 0:
            return
        device = self.xx.device
        self.xx += other.xx.to(device)
        self.xy += other.xy.to(device)
        self.yy += other.yy.to(device)
        self._shift(other.count, other.mean_x.to(device), other.mean_y.to(device))

    def _shift(self, count: int, mean_x: Tensor, mean_y: Tensor) -> None:
        """Account for the distance between our means and those of ``count`` rows whose products were just added."""
        total = self.count + count
        gap_x, gap_y = mean_x - self.mean_x, mean_y - self.mean_y
        factor = self.count * count / total
        self.xx.addr_(gap_x, gap_x, alpha=factor)
        self.xy.addr_(gap_x, gap_y, alpha=factor)
        self.yy.addr_(gap_y, gap_y, alpha=factor)
        self.mean_x += gap_x * (count / total)
        self.mean_y += gap_y * (count / total)
        self.count = total
