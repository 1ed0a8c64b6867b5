"""What ``t2c explain --grounding`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from t2c_search.cli.render import ShownPath, err, out, print_json

if TYPE_CHECKING:
    from t2c_search.explain.grounding import GroundedWord, Grounding

_CONTRADICTIONS = 10


def print_grounding(found: Grounding, *, json: bool) -> None:
    """Print what a model knows of words, and captions that the pictures contradict."""
    if json:
        print_json(found.to_json())
        return
    out.print(f"[bold]{out.shown(found.model)}[/]", soft_wrap=True)
    if found.other:
        out.print(f"[dim]against[/] {out.shown(found.other)}", soft_wrap=True)
    out.print(_table(found))
    if found.contradictions:
        out.print("\n[bold]Claimed by a caption, contradicted by the picture[/] [dim](z of the word, worst first)[/]")
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for claim in found.contradictions[:_CONTRADICTIONS]:
            table.add_row(
                out.shown(claim.word), f"{claim.z:+.2f}", out.shown(claim.caption), ShownPath(claim.path, claim.path)
            )
        out.print(table)
    for note in found.notes:
        err.print(f"[yellow]note[/] {err.shown(note)}", soft_wrap=True)


def _table(found: Grounding) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("word", overflow="fold")
    compared = ("other", "gain", "95 % interval") if found.other else ()
    for heading in ("pictures", "score", "95 % interval", "by chance", *compared, "claimed", "contradicted"):
        table.add_column(heading, justify="right", no_wrap=True)
    for word in found:
        table.add_row(
            out.shown(word.word),
            str(word.images),
            f"{word.score:.2f}",
            f"{word.low:.2f} to {word.high:.2f}",
            f"{word.chance:.2f}",
            *(_gain(word) if found.other else ()),
            str(word.claimed),
            str(word.contradicted),
        )
    return table


def _gain(word: GroundedWord) -> tuple[str, ...]:
    return f"{word.other:.2f}", f"{word.gain:+.2f}", f"{word.gain_low:+.2f} to {word.gain_high:+.2f}"
