"""``python -m t2c_search.demo.train``: train the mini models, or check the shipped ones."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from t2c_search.demo.train import clip, cnn, decoder, record, vit
from t2c_search.demo.train.loop import device
from t2c_search.encoders import mini
from t2c_search.errors import T2CError

SEED = 7

TRAINERS: dict[str, tuple[Callable[..., None], int]] = {
    "clip": (clip.train_clip, clip.STEPS),
    "cnn": (cnn.train_cnn, cnn.STEPS),
    "vit": (vit.train_vit, vit.STEPS),
    "decoder": (decoder.train_decoder, decoder.STEPS),
}
"""Each model's trainer and its number of steps, in order: the ViT learns from the CNN, the decoder from the CLIP model."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m t2c_search.demo.train", description=__doc__)
    parser.add_argument("--check", action="store_true", help="verify the shipped weights against their recorded run")
    parser.add_argument("--only", choices=TRAINERS, help="train this model alone")
    parser.add_argument("--out", type=Path, default=mini.path("clip").parent, help="where the models' folders go")
    chosen = parser.parse_args(arguments)
    if not chosen.check:
        run([chosen.only] if chosen.only else list(TRAINERS), chosen.out)
        return 0
    try:
        for name in TRAINERS:
            found = record.check(chosen.out / name, seed=SEED)
            print(f"{name}: as recorded (seed {found['seed']}, {found['steps']} steps, {found['seconds']} s)")  # noqa: T201
    except T2CError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def run(names: list[str], out: Path) -> None:
    """Train the named models into ``out``, each with its log and its record."""
    for name in names:
        trainer, steps = TRAINERS[name]
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        lines: list[str] = []
        started = time.perf_counter()
        trainer(folder, seed=SEED, log=partial(_note, lines, name))
        (folder / record.LOG).write_text("\n".join(lines) + "\n", encoding="utf-8")
        record.write(
            folder,
            seed=SEED,
            steps=steps,
            seconds=time.perf_counter() - started,
            device=device().type,
            threads=torch.get_num_threads(),
        )


def _note(lines: list[str], name: str, line: str) -> None:
    lines.append(line)
    print(f"{name}: {line}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
