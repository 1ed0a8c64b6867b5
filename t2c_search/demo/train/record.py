"""What is written down of a training run, and the check that shipped weights come from it."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from t2c_search.demo.world import draw
from t2c_search.errors import EncoderError

RECORD = "training.json"
LOG = "training.log"


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def world_digest(seed: int) -> str:
    """Hex digest of a seed's first 20 scenes: another world, another digest."""
    digest = hashlib.sha256()
    for scene in draw(seed, 20):
        digest.update(scene.image.tobytes())
    return digest.hexdigest()


def write(folder: Path, *, seed: int, steps: int, seconds: float, device: str, threads: int) -> None:
    """Write ``training.json`` beside a freshly trained model: how it came to be, and the digest of each of its files."""
    packages = ("torch", "timm", "open_clip_torch", "numpy", "safetensors")
    record: dict[str, Any] = {
        "command": f"python -m t2c_search.demo.train --only {folder.name}",
        "seed": seed,
        "steps": steps,
        "world": world_digest(seed),
        "seconds": round(seconds),
        "device": device,
        "threads": threads,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "files": {file.name: sha256(file) for file in _files(folder)},
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def check(folder: Path, *, seed: int) -> dict[str, Any]:
    """Compare a model's folder with its record, and the record with today's world and seed; return the record.

    Raises EncoderError, naming what differs, when the files are not those that the recorded run wrote.
    """
    if not (folder / RECORD).is_file():
        raise EncoderError(f"{folder} has no {RECORD}: train it with python -m t2c_search.demo.train")
    record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    present = {file.name: sha256(file) for file in _files(folder)}
    differing = sorted(
        name for name in present.keys() | record["files"].keys() if present.get(name) != record["files"].get(name)
    )
    if differing:
        raise EncoderError(f"in {folder} these files are not those of the recorded run: {', '.join(differing)}")
    if record["seed"] != seed:
        raise EncoderError(f"{folder} was trained with seed {record['seed']}, but the recipe's seed is {seed}")
    if record["world"] != world_digest(seed):
        raise EncoderError(f"{folder} was trained on another drawn world than this version draws: train it again")
    return record


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.iterdir()) if file.is_file() and file.name != RECORD)
