"""Benchmarks of several parts, a module with ``measure(quick)`` each: what a part returns, where the real data is, a run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks._common import Bar, finish, options

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Measured:
    """A part's figures for JSON, its tables, and the bars that its figures are held against."""

    figures: Mapping[str, Any]
    tables: Sequence[Table]
    bars: Sequence[Bar]


def real_data() -> Path | None:
    """The folder of real photographs and models; None where it is absent."""
    folder = Path(os.environ.get("T2C_REAL_DATA", ROOT.parent / "shared" / "real"))
    return folder if folder.is_dir() else None


def run(name: str, doc: str | None, parts: Sequence[str], full_only: Sequence[str] = ()) -> int:
    """Measure the parts that the command line asks for, or all; but a quick run those of ``full_only`` only if it names them.

    Returns the exit status, as ``finish`` does.
    """
    chosen = options(name, doc, parts)
    asked = chosen.only or [part for part in parts if not (chosen.quick and part in full_only)]
    found: dict[str, Measured] = {
        part: import_module(f"benchmarks.{name}.{part}").measure(chosen.quick) for part in asked
    }
    return finish(
        name if not chosen.only else f"{name}-{'-'.join(chosen.only)}",
        chosen,
        {part: measured.figures for part, measured in found.items()},
        [table for measured in found.values() for table in measured.tables],
        [bar for measured in found.values() for bar in measured.bars],
    )
