"""What is written down of a training run, and the check that shipped weights come from the recipe's."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from t2c_search.demo.train.trainers import Trainer
from t2c_search.errors import EncoderError

RECORD = "training.json"
LOG = "training.log"
FIRST_ITEMS = 20  # of each thing that a recipe draws, whose digest is recorded
PACKAGES = ("torch", "timm", "open_clip_torch", "numpy", "safetensors")

_STEP = re.compile(r"(?:(\w+), )?step (\d+)/\d+ ")


class Record(BaseModel):
    """``training.json``: how a model came to be.

    ``command`` trains this model alone. ``steps`` are those that ran, ``recipe`` is every constant, ``drawn`` has a digest of
    the first things of each kind that the seed gives, ``sources`` one of each file of the models it learnt from, ``files``
    one of each file beside the record.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str
    seed: int
    steps: int
    recipe: dict[str, Any]
    drawn: dict[str, str]
    sources: dict[str, str]
    seconds: int
    device: str
    threads: int
    versions: dict[str, str]
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under which a model was trained: its seed, seconds it took, the kind of device, and threads."""

    seed: int
    seconds: float
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: the record, what differs from it, and remarks on what may differ."""

    record: Record
    differences: tuple[str, ...]
    remarks: tuple[str, ...]


def write(folder: Path, trainer: Trainer, under: Circumstances) -> None:
    """Write ``training.json`` beside a freshly trained model and its log."""
    record = Record(
        command=f"python -m t2c_search.demo.train --only {folder.name}",
        seed=under.seed,
        steps=steps_run(folder / LOG),
        recipe=trainer.constants(),
        drawn=_drawn(trainer, under.seed),
        sources=_sources(folder, trainer),
        seconds=round(under.seconds),
        device=under.device,
        threads=under.threads,
        versions=_versions(),
        files=digests(folder),
    )
    (folder / RECORD).write_text(json.dumps(record.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> Record:
    """Read a model's record. Raises EncoderError when there is none, or none that can be read."""
    try:
        return Record.model_validate_json((folder / RECORD).read_bytes())
    except FileNotFoundError as exc:
        raise EncoderError(f"{folder} has no {RECORD}: train it with python -m t2c_search.demo.train") from exc
    except (OSError, ValidationError) as exc:
        reason = str(exc).splitlines()[0]
        raise EncoderError(f"{folder / RECORD} cannot be read as a training record: {reason}; train it again") from exc


def check(folder: Path, trainer: Trainer, *, seed: int) -> Verdict:
    """Compare a model's record with its files, with those it learnt from, and with what the recipe is and draws today.

    Raises EncoderError when there is no record that can be read. Other versions of libraries are only remarked on.
    """
    record, here = read(folder), _versions()
    remarks = (
        f"trained with {name} {then}, {here.get(name, 'none')} is here"
        for name, then in record.versions.items()
        if here.get(name) != then
    )
    return Verdict(record, tuple(_differences(folder, record, trainer, seed)), tuple(remarks))


def changed_files(folder: Path, record: Record) -> str:
    """Name the files of a model's folder that are not those of its record; empty when all are."""
    return ", ".join(_unlike(record.files, digests(folder)))


def steps_run(log: Path) -> int:
    """How many steps a log tells of: the last of each stage, together."""
    found = filter(None, map(_STEP.match, log.read_text(encoding="utf-8").splitlines()))
    return sum({line[1]: int(line[2]) for line in found}.values())


def _differences(folder: Path, record: Record, trainer: Trainer, seed: int) -> Iterator[str]:
    if changed := changed_files(folder, record):
        yield f"these files are not those of the recorded run: {changed}"
    if record.seed != seed:
        yield f"it was trained with seed {record.seed}, but the recipe's seed is {seed}"
    constants = json.loads(json.dumps(trainer.constants()))  # tuples as lists, as they were recorded
    for name in _unlike(record.recipe, constants):
        yield f"the recipe's {name} was {record.recipe.get(name)} and is now {constants.get(name)}"
    if others := _unlike(record.drawn, _drawn(trainer, record.seed)):
        yield f"the recipe now draws other {', '.join(others)}"
    if others := _unlike(record.sources, _sources(folder, trainer)):
        yield f"it learnt from other files than are beside it: {', '.join(others)}"
    told = steps_run(folder / LOG) if (folder / LOG).is_file() else 0
    if not record.steps == told == trainer.recipe.steps:
        yield f"its record tells of {record.steps} steps, its log of {told}, the recipe of {trainer.recipe.steps}"


def _unlike(then: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Names whose values differ, or that one side alone has."""
    missing = object()
    return sorted(name for name in then.keys() | now.keys() if then.get(name, missing) != now.get(name, missing))


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def digests(folder: Path) -> dict[str, str]:
    """Hex digest of each file but the record, by name; none of a folder that is not there."""
    files = (file for file in sorted(folder.glob("*")) if file.is_file() and file.name != RECORD)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _drawn(trainer: Trainer, seed: int) -> dict[str, str]:
    return {name: hashlib.sha256(items).hexdigest() for name, items in trainer.drawn(seed, FIRST_ITEMS).items()}


def _sources(folder: Path, trainer: Trainer) -> dict[str, str]:
    """Digests of the files of the models that this one learns from, by ``model/file``; a log teaches nothing."""
    return {
        f"{model}/{name}": digest
        for model in trainer.learns_from
        for name, digest in digests(folder.parent / model).items()
        if name != LOG
    }
