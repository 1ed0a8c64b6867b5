"""``t2c demo``: see it work in a minute, with nothing to download."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import MACHINE, app
from t2c_search.cli.render import ShownPath, out, print_json, progress_bar

if TYPE_CHECKING:
    from t2c_search.demo.tour import Tour


@app.command(rich_help_panel=MACHINE)
def demo(
    store: Annotated[
        str,
        typer.Option(
            "--store",
            "-s",
            help="Folder, new or an earlier demo's, for the scenes, their store and the contact sheets.",
        ),
    ] = "t2c-demo",
    json: options.Json = False,
) -> None:
    """Draw 2,000 scenes, index them, search them, and measure every answer against the truth. Offline, under a minute.

    \b
    Example:
      t2c demo
    """
    from t2c_search.demo import tour

    with progress_bar() as progress:
        done = tour.run(store, progress=progress)
    if json:
        print_json(asdict(done))
    else:
        _show(done)


def _show(done: Tour) -> None:
    out.print(_answer_table(done))
    out.print(
        f"[dim]{_deeds(done)} in {done.seconds:.0f} s. The backbone never saw a word: an aligner fitted on those scenes "
        "carried it into CLIP space.[/]"
    )
    out.print("\nNow try")
    for command in _commands(done):
        out.print(f"  {command}", soft_wrap=True, markup=False, highlight=False)
    out.print(
        "\n[dim]A text counts from a threshold that is a rule of thumb, and too low for what is rare: ask for more, as "
        "2.25sd does above, or mark examples with t2c concept add.[/]"
    )


def _answer_table(done: Tour) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("query")
    table.add_column("right of the first 10", justify="right")
    table.add_column("recall", justify="right")
    table.add_column("contact sheet", style="dim")
    for answer in done.queries:
        right, recall = f"{10 * answer.precision_at_10:.0f}", f"{answer.recall:.2f}"
        table.add_row(
            out.shown(answer.query), right, recall, ShownPath(str(answer.sheet.absolute()), str(answer.sheet))
        )
    return table


def _deeds(done: Tour) -> str:
    """Say what was done now, rather than by an earlier demo."""
    new = [f"{count} {deed}" for count, deed in ((done.drawn, "drawn"), (done.indexed, "indexed")) if count]
    return f"{done.images} scenes, {', '.join(new) or 'all there from an earlier demo'}, searched"


def _commands(done: Tour) -> list[str]:
    """Commands that the mini models answer well, measured on these scenes, ready to be pasted into a shell."""
    here = ["-c", done.collection, "--store", str(done.store)]
    return [
        shlex.join(["t2c", "search", *here, '"a heart" AND "on grass"', "--sheet", "hearts.png"]),
        shlex.join(["t2c", "count", *here, '"a ring" AND NOT "in the snow"']),
        shlex.join(["t2c", "count", *here, '"a white ring" >= 2.25sd']),
        "t2c index ~/Pictures -c photos --store ./photos.t2c",
    ]
