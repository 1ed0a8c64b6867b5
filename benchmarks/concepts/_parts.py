"""What the parts of this benchmark share: what they return, and where the real data is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks._common import Bar

ROOT = Path(__file__).parents[2]


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
