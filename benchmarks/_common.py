"""What the benchmarks share: options, a description of the machine, bars, tables, and where the figures are kept."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Bar:
    """A figure and the least that it must be, or, where it is an error, the most."""

    name: str
    value: float
    bar: float
    most: bool = False

    @property
    def met(self) -> bool:
        return self.value <= self.bar if self.most else self.value >= self.bar


def options(name: str, doc: str | None, parts: Sequence[str] = ()) -> argparse.Namespace:
    """Read ``--quick``, ``--json`` and, of a benchmark that has ``parts``, ``--only`` from the command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything; the bars are shown, not judged")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    if parts:
        parser.add_argument("--only", nargs="+", choices=parts, metavar="PART", help=f"of {', '.join(parts)}")
    return parser.parse_args()


def hardware() -> dict[str, Any]:
    """Describe what the figures were measured on."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def table(title: str, rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str]) -> Table:
    """Lay out rows of figures by name; a figure that a row lacks stays blank."""
    laid = Table(title=title, title_justify="left")
    laid.add_column("")
    for column in columns:
        laid.add_column(column, justify="right")
    for name, figures in rows.items():
        laid.add_row(name, *(_cell(figures.get(column)) for column in columns))
    return laid


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def finish(
    name: str, chosen: argparse.Namespace, figures: Mapping[str, Any], tables: Sequence[Table], bars: Sequence[Bar]
) -> int:
    """Print the outcome, keep it in ``results/NAME.json`` (``NAME-quick.json``), return 1 when a judged bar is missed."""
    kept = {
        "quick": chosen.quick,
        "hardware": hardware(),
        **figures,
        "bars": [{"name": bar.name, "value": bar.value, "bar": bar.bar, "holds": bar.met} for bar in bars],
    }
    RESULTS.mkdir(exist_ok=True)
    document = json.dumps(kept, indent=1)
    (RESULTS / f"{name}{'-quick' if chosen.quick else ''}.json").write_text(document + "\n", encoding="utf-8")
    if chosen.json:
        print(document)
    else:
        console = Console(width=None if Console().is_terminal else 120)
        for each in tables:
            console.print(each)
        for bar in bars:
            console.print(
                f"{'met   ' if bar.met else 'MISSED'} {bar.name}: {bar.value:.3f}, at {'most' if bar.most else 'least'} {bar.bar}"
            )
        machine = ", ".join(f"{name} {value}" for name, value in hardware().items())
        console.print(f"on {machine}" + ("; quick: the bars are not judged" if chosen.quick else ""))
    return int(not chosen.quick and not all(bar.met for bar in bars))
