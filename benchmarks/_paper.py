"""The Text-to-Concept paper's way to fit an aligner (arXiv 2305.06386), as the peer: gradient descent on rescaled pairs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

LEARNING_RATE, MOMENTUM = 0.01, 0.9
PUBLISHED_EPOCHS = 6
POOLED_VARIANCE = 4.5  # that both spaces are rescaled to
BATCH = 128  # the paper names none


@dataclass(frozen=True)
class Epoch:
    """The map after some epochs, for rows as they are: y = x @ weight + bias. ``seconds`` counts the descent alone."""

    count: int
    seconds: float
    weight: Tensor
    bias: Tensor


def unscale(weight: Tensor, bias: Tensor, c1: Tensor, c2: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a map between rescaled rows, c2 y = c1 x @ weight + bias, into the one between rows as they are.

    The public code multiplies the bias by c1 here.
    """
    return weight * (c1 / c2), bias / c2


def descend(x: Tensor, y: Tensor) -> Iterator[Epoch]:
    """Yield the map from x (n, d_x) to y (n, d_y) after each epoch of descent on the mean squared error, for ever."""
    c1, c2 = (POOLED_VARIANCE / x.var()).sqrt(), (POOLED_VARIANCE / y.var()).sqrt()
    inputs, targets = x * c1, y * c2
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    layer = torch.nn.Linear(x.shape[1], y.shape[1])
    optimiser = torch.optim.SGD(layer.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    count, seconds = 0, 0.0
    while True:
        started = time.perf_counter()
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(layer(inputs[rows]), targets[rows]).backward()
            optimiser.step()
        count, seconds = count + 1, seconds + time.perf_counter() - started
        yield Epoch(count, seconds, *unscale(layer.weight.detach().T, layer.bias.detach(), c1, c2))
