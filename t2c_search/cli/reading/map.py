"""``t2c map``: a collection's clusters, named in words, and its map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import READING, app
from t2c_search.cli.look import show_sheet
from t2c_search.cli.render import err, out, print_json, progress_bar, waiting

if TYPE_CHECKING:
    from t2c_search.concepts.atlas.atlas import Atlas

_TRAITS = 4  # words told of a cluster
_BAR = 16  # columns of the largest cluster's bar


@app.command("map", rich_help_panel=READING)
def draw(
    expression: Annotated[
        str | None, typer.Argument(metavar="[EXPRESSION]", help="Which images, in the query language; all if left out.")
    ] = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    device: options.DeviceName = None,
    where: options.Where = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the map here: .html to explore it, .png for a picture.")
    ] = None,
    open: Annotated[bool, typer.Option("--open", help="Explore it in the browser.")] = False,
    clusters: Annotated[
        int | None,
        typer.Option("--clusters", help="How many.", show_default="sqrt(images / 2), at most 24"),
    ] = None,
    vocabulary: Annotated[
        str | None,
        typer.Option(
            "--vocabulary",
            help="Words to name them in: a file, words with commas between them, captions, or everyday.",
            show_default="what suits the model",
        ),
    ] = None,
    layout: Annotated[
        Literal["umap", "pca"] | None,
        typer.Option("--layout", help="How images find their place.", show_default="umap where installed"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same map.")] = 0,
    thumbnails: Annotated[int, typer.Option("--thumbnails", min=0, help="Small pictures in a page, at most.")] = 2000,
    write: Annotated[
        str | None,
        typer.Option(
            "--write", metavar="NAME", help="Write the clusters' names to the field derived.NAME, to filter by."
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Draw a collection's map: images that are alike lie together, and words say what sets each cluster apart.

    The page needs no network. Hold Shift and draw round images to choose them: it shows them, and gives an expression and a
    list of paths. Numbers beside words are Hedges' g: by how many standard deviations a cluster shows more of it.

    \b
    Examples:
      t2c map -c photos -o map.html
      t2c map '"a dog"' -c photos --clusters 8 --open
      t2c map -c photos --where 'taken = 2023' --vocabulary captions -o map.png
      t2c map -c photos --write topic && t2c facets derived.topic -c photos
    """
    from t2c_search.collection import open_collection
    from t2c_search.collection.in_words.mapping import check_map_file

    if output is not None:
        check_map_file(output)  # before the map is drawn, which takes a while
    with (
        open_collection(collection, store, device=device, wait=waiting(wait)) as images,
        progress_bar() as progress,
    ):
        atlas = images.map(
            expression,
            where=where,
            clusters=clusters,
            vocabulary=vocabulary,
            layout=layout,
            seed=seed,
            write=write,
            progress=progress,
        )
        note = "" if expression is None and where is None else images.expression(expression, where=where)
        title = f"Map of {images.name}"

        def written(path: Path) -> None:
            images.write_map(atlas, path, title=title, note=note, thumbnails=thumbnails, progress=progress)

        show_sheet(written, output, open=open, what="map")
    if json:
        print_json({"collection": images.name, **atlas.to_json()})
        return
    out.print(f"[bold]{atlas.told()}[/], named in the words of {out.shown(atlas.vocabulary)}")
    out.print(_table(atlas))
    if atlas.field is not None:
        out.print(f"written to [bold]{out.shown(atlas.field)}[/] of each image")
    elif output is None and not open:
        err.print("[dim]explore it: give -o map.html, or --open[/]")


def _table(atlas: Atlas) -> Table:
    """Lay out the clusters from the largest on: name, size, and the words that set each apart."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("cluster", overflow="fold")
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("set apart by, with Hedges' g", overflow="fold")
    largest = max(cluster.size for cluster in atlas.clusters)
    for cluster in atlas.clusters:
        bar = "█" * max(1, round(_BAR * cluster.size / largest))
        words = ", ".join(f"{out.shown(trait.concept)} [dim]{trait.g:.1f}[/]" for trait in cluster.traits[:_TRAITS])
        table.add_row(f"[bold]{out.shown(cluster.name)}[/]", f"{cluster.size:,}", f"[blue]{bar}[/]", words)
    return table
