"""``t2c describe``: vectors in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import READING, app
from t2c_search.cli.render import ShownPath, err, loading, out, print_json, waiting
from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from t2c_search.concepts.describe.results import Description, Descriptions

_BAR = 20  # columns of the largest weight


@app.command(cls=options.SeveralValues, rich_help_panel=READING)
def describe(
    query: Annotated[
        str | None, typer.Argument(help="A text or expression: the mean of all images that match is described.")
    ] = None,
    ids: Annotated[list[str] | None, typer.Option("--id", help="An image by its id, or several.")] = None,
    image: Annotated[
        str | None, typer.Option("--image", help="An image by its path, of the collection or not.")
    ] = None,
    concept: Annotated[str | None, typer.Option("--concept", help="A saved concept, by name.")] = None,
    vector: Annotated[
        Path | None,
        typer.Option(
            "--vector",
            help="An .npy of vectors (n, d) of the backbone's own space or of CLIP space, such as clusters' centres.",
        ),
    ] = None,
    direction: Annotated[
        Path | None,
        typer.Option("--direction", help="An .npy of directions (n, d), such as a classifier's class vectors."),
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Describe each image that matches, or all, into -o.")] = False,
    words: Annotated[int, typer.Option("-n", "--words", min=1, max=100, help="How many words.")] = 8,
    vocabulary: Annotated[
        str | None,
        typer.Option(
            "--vocabulary",
            help='A file of one concept a line, "a,b,c", captions (the collection\'s own words), or everyday (a long list).',
            show_default="what suits the model",
        ),
    ] = None,
    decoder: Annotated[
        Path | None,
        typer.Option(
            "--decoder",
            help="Say it in a sentence too, with this decoder, made by t2c fit-decoder.",
            show_default="the mini CLIP's own, or none",
        ),
    ] = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    where: options.Where = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write a .csv, .jsonl or .png.")] = None,
    json: options.Json = False,
    text: options.TextId = None,
    device: options.DeviceName = None,
) -> None:
    """Say in a few weighted words what an image, many images, a saved concept or any vector shows.

    Each weight says how much of the vector is told by that word; the cosine, how much all of them tell together.

    \b
    Examples:
      t2c describe '"a dog" AND NOT "a person"'
      t2c describe --image cat.jpg --vocabulary captions --decoder my-decoder
      t2c describe --where 'label = "wrong"' -o wrong.png
      t2c describe --direction class_vectors.npy -n 5 --json
      t2c describe --each --where 'taken >= 2024' -o words.csv
    """
    from t2c_search.collection import open_collection
    from t2c_search.export.reading.words import write_descriptions

    if each and (output is None or json or ids or image or concept or vector or direction):
        raise UsageError(
            "--each describes the images of a query, of --where, or all, into a file: give it with -o FILE alone"
        )
    told: dict[str, Any] = {"words": words, "vocabulary": vocabulary, "decoder": decoder}
    with open_collection(collection, store, text=text, device=device, wait=waiting(wait)) as images, loading():
        if each and output is not None:
            count = write_descriptions(images.describe_each(query, where=where, **told), output)
            err.print(f"[dim]{count} images described in {err.shown(output)}[/]", soft_wrap=True)
            return
        found = images.describe(
            query,
            where=where,
            ids=ids or [],
            image=image,
            concept=concept,
            vectors=_read_vectors(vector),
            directions=_read_vectors(direction),
            **told,
        )
    if output is not None:
        write_descriptions(found.things, output)
        err.print(f"[dim]written to {err.shown(output)}[/]", soft_wrap=True)
    if json:
        print_json(found.to_json())
    elif output is None:
        _show(found)


def _read_vectors(path: Path | None) -> Any:
    """Read an .npy file. Raises UsageError for what is none."""
    if path is None:
        return None
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as exc:
        raise UsageError(
            f"{path} holds no array of numbers that can be read ({exc}): save one with numpy.save"
        ) from exc


def _show(found: Descriptions) -> None:
    """Show one thing's words as bars, several things a line each."""
    err.print(f"[dim]in words of {err.shown(found.vocabulary)}, {found.concepts} concepts[/]", soft_wrap=True)
    if len(found.things) == 1:
        _show_one(found.things[0])
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("of")
    table.add_column("words", overflow="fold")
    table.add_column("cosine", justify="right", no_wrap=True)
    for thing in found.things:
        told = ", ".join(f"{out.shown(word.name)} [dim]{word.weight:.2f}[/]" for word in thing.words)
        said = f"{out.shown(thing.sentence)}\n" if thing.sentence else ""
        table.add_row(
            ShownPath(thing.subject, thing.subject), f"{said}{told or '[dim]no word[/]'}", f"{thing.cosine:.2f}"
        )
    out.print(table)


def _show_one(thing: Description) -> None:
    out.print(f"[bold]{out.shown(thing.subject)}[/]", soft_wrap=True)
    if thing.sentence is not None:
        out.print(f"{out.shown(thing.sentence)}  [dim]cosine {thing.sentence_cosine or 0:.2f}[/]", soft_wrap=True)
    if not thing.words:
        out.print("[dim]no word of the vocabulary tells anything of it[/]")
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    most = thing.words[0].weight
    for word in thing.words:
        bar = "█" * max(1, round(_BAR * word.weight / most))
        table.add_row(out.shown(word.name), f"{word.weight:.2f}", f"[cyan]{bar}[/]", f"[dim]{out.shown(word.group)}[/]")
    out.print(table)
    out.print(f"[dim]together they make up a cosine of {thing.cosine:.2f} with it[/]")
