"""Train the mini models from their seed, or check the shipped ones against the record of their training."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from t2c_search.concepts.describe.loop import device
from t2c_search.demo.train import record
from t2c_search.demo.train.trainers import SEED, TRAINERS
from t2c_search.encoders import mini
from t2c_search.errors import EncoderError, T2CError, UsageError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m t2c_search.demo.train", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="verify the weights against their recorded run; train nothing"
    )
    parser.add_argument("--only", choices=TRAINERS, help="train or check this model alone")
    parser.add_argument(
        "--out",
        type=Path,
        default=mini.path("clip").parent,
        help="folder of the models' folders; left out, the package's own, whose weights training replaces: %(default)s",
    )
    chosen = parser.parse_args(arguments)
    names = [chosen.only] if chosen.only else list(TRAINERS)
    try:
        if chosen.check:
            good = [check(chosen.out, name) for name in names]
            return 0 if all(good) else 1
        run(names, chosen.out)
    except T2CError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, UsageError) else 1
    return 0


def check(out: Path, name: str) -> bool:
    """Say whether a model is as its record says, and if not, what differs."""
    try:
        verdict = record.check(out / name, TRAINERS[name], seed=SEED)
    except EncoderError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        return False
    found = verdict.record
    versions = ", ".join(f"{package} {version}" for package, version in found.versions.items())
    machine = f"{found.device} with {found.threads} threads"
    state = "not as recorded" if verdict.differences else "as recorded"
    print(f"{name}: {state} (seed {found.seed}, {found.steps} steps in {found.seconds} s on {machine}, {versions})")  # noqa: T201
    for remark in verdict.remarks:
        print(f"  note: {remark}")  # noqa: T201
    for difference in verdict.differences:
        print(f"  {name}: {difference}", file=sys.stderr)  # noqa: T201
    return not verdict.differences


def run(names: Sequence[str], out: Path) -> None:
    """Train the named models into ``out``, each with its log and its record.

    Raises UsageError for a folder that cannot be written, or that lacks a model which another is to learn from, and
    EncoderError when that one is not as its record says; nothing is written then.
    """
    for name in names:
        for source in TRAINERS[name].learns_from:
            if source not in names:
                _require_source(out / source, name)
    for name in names:
        _make(out / name)
    for name in names:
        folder, lines = out / name, list[str]()
        started = time.perf_counter()
        TRAINERS[name].train(folder, TRAINERS[name].recipe, seed=SEED, log=partial(_note, lines, name))
        seconds = time.perf_counter() - started
        (folder / record.LOG).write_text("\n".join(lines) + "\n", encoding="utf-8")
        under = record.Circumstances(SEED, seconds, device().type, torch.get_num_threads())
        record.write(folder, TRAINERS[name], under)


def _require_source(folder: Path, name: str) -> None:
    if not folder.is_dir():
        raise UsageError(f"the {name} learns from the {folder.name}, but there is no {folder}: train that one first")
    if changed := record.changed_files(folder, record.read(folder)):
        raise EncoderError(
            f"the {name} learns from {folder}, where these files are not those of its recorded run: {changed}; "
            "train that one again first"
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # known now rather than after the training
    except OSError as exc:
        raise UsageError(
            f"no model can be written to {folder}: {exc.strerror or exc}; name another folder with --out"
        ) from exc


def _note(lines: list[str], name: str, line: str) -> None:
    lines.append(line)
    print(f"{name}: {line}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
