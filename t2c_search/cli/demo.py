"""``t2c demo``: see it work in a minute, with nothing to download."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import app
from t2c_search.cli.render import out, print_json, progress_bar


@app.command()
def demo(
    store: Annotated[
        Path, typer.Option("--store", "-s", help="Folder to put the scenes, the store and the contact sheets in.")
    ] = Path("t2c-demo"),
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
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("query")
    table.add_column("right of the first 10", justify="right")
    table.add_column("recall", justify="right")
    table.add_column("contact sheet", style="dim", overflow="fold")
    for answer in done.queries:
        table.add_row(
            escape(answer.query), f"{10 * answer.precision_at_10:.0f}", f"{answer.recall:.2f}", str(answer.sheet)
        )
    out.print(table)
    out.print(
        f"[dim]{done.images} scenes drawn, indexed and searched in {done.seconds:.0f} s. The backbone never saw a word: an "
        "aligner fitted on those scenes carried it into CLIP space.[/]"
    )
    here = f"-c {done.collection} --store {done.store}"
    out.print(f"""
Now try
  t2c search {here} '"a white ring" AND "on brick"' --sheet rings.png
  t2c count  {here} '"a red star" AND NOT "at night"'
  t2c index  ~/Pictures -c photos --store ./photos.t2c
""")
