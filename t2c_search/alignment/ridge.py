"""Every ridge solution of some moments, cheaply, from one eigendecomposition."""

from __future__ import annotations

import torch
from torch import Tensor

from t2c_search.alignment.moments import PairedMoments

_MAX_GAIN = 1e4  # of variance: a direction that is predicted from almost nothing is noise, however much it is restored


class RidgeSpectrum:
    """The affine maps x -> y, x (d_x) and y (d_y), that ridge regression gives at any strength; float64.

    With the centred products X'X = V diag(l) V' of n pairs, the slope at strength s is V diag(1 / (l + s u)) V' X'Y,
    where u is the mean of the l over the directions that n rows can span: a strength means the same at any n and any
    scale of x.
    """

    def __init__(self, moments: PairedMoments) -> None:
        self._moments = moments
        values, self._vectors = torch.linalg.eigh(moments.xx)
        self._values = values.clamp_min(0)
        self._unit = (self._values.sum() / min(len(values), moments.count - 1)).clamp_min(
            torch.finfo(values.dtype).tiny
        )
        self._variances, self._directions = torch.linalg.eigh(moments.yy)
        self._products = self._vectors.T @ moments.xy @ self._directions

    def project(self, x: Tensor) -> Tensor:
        """Map rows (n, d_x) to their coordinates (n, d_x) along the principal directions of x."""
        projected: Tensor = (x.double() - self._moments.mean_x) @ self._vectors
        return projected

    def coefficients(self, strength: float, restoration: float) -> Tensor:
        """Return the slope (d_x, d_y) that goes with ``project``ed rows.

        Shrinkage takes variance from the predictions, most along those principal directions of y that x says least
        about. Each direction is scaled by (its variance / the predictions' variance along it) ^ (restoration / 2).
        """
        shrunk = self._products / (self._values + strength * self._unit).unsqueeze(1)
        explained = (self._values.unsqueeze(1) * shrunk.square()).sum(0)
        lost = self._variances / explained.clamp_min(torch.finfo(explained.dtype).tiny)
        slope: Tensor = (shrunk * lost.clamp(1, _MAX_GAIN) ** (restoration / 2)) @ self._directions.T
        return slope

    def predict(self, projected: Tensor, strength: float, restoration: float) -> Tensor:
        """Map ``project``ed rows (n, d_x) to predictions (n, d_y)."""
        return projected @ self.coefficients(strength, restoration) + self._moments.mean_y

    def affine(self, strength: float, restoration: float) -> tuple[Tensor, Tensor]:
        """Return the same map for rows of x: weight (d_x, d_y) and bias (d_y,), y = x @ weight + bias."""
        weight = self._vectors @ self.coefficients(strength, restoration)
        return weight, self._moments.mean_y - self._moments.mean_x @ weight

    def pooled_r2(self, strength: float, restoration: float) -> float:
        """1 - mean squared error / variance of all numbers of y pooled over dimensions, on the pairs of the moments."""
        slope = self.coefficients(strength, restoration)
        products = self._products @ self._directions.T
        error = (
            self._variances.sum() - 2 * (slope * products).sum() + (self._values.unsqueeze(1) * slope.square()).sum()
        )
        mean = self._moments.mean_y
        pooled = self._variances.sum() + self._moments.count * (mean - mean.mean()).square().sum()
        return float(1 - error / pooled)
