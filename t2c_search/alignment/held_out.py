"""Which pairs are held out of a fit: chosen by a hash of their ids, in one pass and constant memory, on many machines."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from t2c_search.alignment.moments import PairedMoments

HELD_OUT_SHARE = 0.2
MAX_HELD_OUT = 2_048  # pairs: standard errors of the figures are then about 0.01, in 20 MB at 2,048 + 512 dimensions


class PairSplit:
    """Pairs of rows x (n, d_x) and y (n, d_y) on their way to the moments of most and the rows of those held out.

    Held out are the pairs of lowest hash: a fifth, at most ``MAX_HELD_OUT``, the same ones in whatever order and batches
    they come, and however they were spread over splits that are merged. ``among`` says how many pairs there are at most
    in all, where that is known: fewer rows then wait for the end. All is on the device of the first rows, unless told.
    """

    def __init__(self, among: int | None = None, device: torch.device | None = None) -> None:
        self._device = device
        self._most = MAX_HELD_OUT if among is None else _held_out_of(among)
        self._moments: PairedMoments | None = None
        self._keys: list[int] = []
        self._x = self._y = torch.empty(0, 0)

    @property
    def count(self) -> int:
        """Pairs so far."""
        return len(self._keys) + (self._moments.count if self._moments else 0)

    def add(self, ids: Sequence[str], x: Tensor, y: Tensor) -> None:
        """Take in n pairs."""
        self._hold([_key(i) for i in ids], x, y)
        self._pass_on(self._most)

    def merge(self, other: PairSplit) -> None:
        """Take in what another split took in, of other pairs; that one stays as it is."""
        if not other.count:
            return
        self._hold(other._keys, other._x, other._y)
        if other._moments is not None:
            self._moments_of(other._x, other._y).merge(other._moments)
        self._pass_on(self._most)

    def finish(self) -> tuple[PairedMoments | None, Tensor, Tensor]:
        """Return the moments of the pairs to fit on, and the rows x (h, d_x) and y (h, d_y) of those held out.

        No pairs at all give None and empty rows. Nothing can be added afterwards.
        """
        if self.count:
            self._pass_on(_held_out_of(self.count))
            self._moments_of(self._x, self._y)
        return self._moments, self._x, self._y

    def _hold(self, keys: Sequence[int], x: Tensor, y: Tensor) -> None:
        device = self._device = self._device or x.device
        x, y = x.to(device), y.to(device)
        self._x, self._y = (torch.cat([self._x, x]), torch.cat([self._y, y])) if self._keys else (x, y)
        self._keys = [*self._keys, *keys]

    def _pass_on(self, held: int) -> None:
        """Put the order of the rows in that of their keys, and all but the lowest into the moments."""
        order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
        lowest, rest = order[:held], order[held:]
        if rest:
            self._moments_of(self._x, self._y).add(self._x[rest], self._y[rest])
        self._keys, self._x, self._y = [self._keys[i] for i in lowest], self._x[lowest], self._y[lowest]

    def _moments_of(self, x: Tensor, y: Tensor) -> PairedMoments:
        """Return the moments of rows such as these, which take room only when there is something to put in."""
        if self._moments is None:
            self._moments = PairedMoments(x.shape[1], y.shape[1], self._x.device)
        return self._moments


def _held_out_of(pairs: int) -> int:
    return min(MAX_HELD_OUT, round(HELD_OUT_SHARE * pairs))


def _key(identity: str) -> int:
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "big")
