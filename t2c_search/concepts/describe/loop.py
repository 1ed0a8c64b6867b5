"""The one training loop: AdamW with a warm-up and a cosine, on whatever losses come."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

EVERY = 50  # steps a line of the log covers

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Optimiser:
    """What every model is trained with."""

    betas: tuple[float, float] = (0.9, 0.98)
    warm_up: int = 100  # steps
    floor: float = 0.02  # of the learning rate, at the end
    longest_gradient: float = 1.0


OPTIMISER = Optimiser()


@dataclass(frozen=True, slots=True)
class Course:
    """How long and how fast one model is trained: its steps, its highest learning rate and its weight decay."""

    steps: int
    rate: float
    weight_decay: float


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def save(model: nn.Module, path: Path) -> None:
    """Write a model's weights in float16; integer buffers stay as they are."""
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    save_file({n: (v.half() if v.is_floating_point() else v).contiguous() for n, v in weights.items()}, path)
    path.chmod(0o644)  # safetensors makes it private to its owner, and a wheel keeps that


def train(model: nn.Module, losses: Callable[[int], torch.Tensor], course: Course, log: Log) -> None:
    """Take AdamW steps, in place, on ``losses(step)`` with step from 1. Vectors and embeddings are not decayed."""
    steps = course.steps
    decayed = {name for name, p in model.named_parameters() if p.ndim >= 2 and "embedding" not in name}
    groups = [
        {"params": [p for name, p in model.named_parameters() if name in decayed], "weight_decay": course.weight_decay},
        {"params": [p for name, p in model.named_parameters() if name not in decayed], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=course.rate, betas=OPTIMISER.betas)

    def pace(step: int) -> float:
        cosine = (1 + math.cos(math.pi * step / steps)) / 2
        return min(1.0, (step + 1) / OPTIMISER.warm_up) * (OPTIMISER.floor + (1 - OPTIMISER.floor) * cosine)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
    model.train()
    started, total = time.perf_counter(), 0.0
    for step in range(1, steps + 1):
        loss = losses(step)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), OPTIMISER.longest_gradient)
        optimiser.step()
        schedule.step()
        total += float(loss.detach())
        if step % EVERY == 0 or step == steps:
            mean = total / (step % EVERY or EVERY)
            log(f"step {step}/{steps} loss {mean:.3f} after {time.perf_counter() - started:.0f} s")
            total = 0.0
    model.eval()
