"""What ``t2c explain --region`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from t2c_search.cli.render import ShownPath, out, print_json

if TYPE_CHECKING:
    from t2c_search.explain.pairs import RegionWords


def print_region(found: RegionWords, *, json: bool) -> None:
    """Print the words that a region says."""
    if json:
        print_json(found.to_json())
        return
    out.print(ShownPath(found.path, found.path))
    out.print(f"[dim]the region is {found.area:.0%} of what the model sees[/]")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("word", overflow="fold")
    for heading in ("gives (sd)", "elsewhere"):
        table.add_column(heading, justify="right", no_wrap=True)
    for word in found.words:
        table.add_row(out.shown(word.word), f"{word.share:+.2f}", f"{word.elsewhere:+.2f}")
    out.print(table)
