"""``t2c knowledge``: what images and a text have in common, in descriptors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import EXPLAINING, app
from t2c_search.cli.render import ShownPath, err, loading, out, print_json, waiting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from t2c_search.explain.mutual.knowledge import ImageKnowledge, Knowledge

_SHOWN = 10  # descriptors in a row of a table


@app.command(cls=options.SeveralValues, rich_help_panel=EXPLAINING)
def knowledge(
    text: Annotated[str, typer.Argument(help="What the images show, in words: a query, or a class's name.")],
    query: Annotated[str | None, typer.Argument(help="Look at the images that satisfy this.")] = None,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Look at the image of this id, or several.")] = None,
    paths: Annotated[
        list[str] | None, typer.Option("--path", help="Look at the image at this path, or several.")
    ] = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    where: options.Where = None,
    most: options.Most = 30,
    descriptors: options.Descriptors = None,
    side: options.Side = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Draw the images with their parts, each with its descriptors (.png, .svg)."),
    ] = None,
    json: options.Json = False,
    clip: options.ClipId = None,
    backbone: options.BackboneId = None,
    text_id: options.TextId = None,
    device: options.DeviceName = None,
) -> None:
    """Say in words what images and a text have in common: which descriptors a model sees and the text means.

    Without --id, --path, a query or --where, the best hits of the text are looked at. What is in the foreground of each is
    divided into parts; each part is given descriptors of its own. Information is in nats, zero where as many descriptors are
    shared as by chance.

    \b
    Examples:
      t2c knowledge "a dog" --path rex.jpg --save rex.png
      t2c knowledge "a dog" --where 'label = "dog"' -n 50
      t2c knowledge "a steam train" --descriptors captions
    """
    from t2c_search.collection import open_collection
    from t2c_search.export.explaining.parts import check_picture, write_parts

    if save is not None:
        check_picture(save)
    with (
        open_collection(
            collection, store, clip=clip, backbone=backbone, text=text_id, device=device, wait=waiting(wait)
        ) as images,
        loading(),
    ):
        found = images.knowledge(
            text,
            query=query,
            where=where,
            ids=ids or [],
            paths=paths or [],
            most=most,
            descriptors=descriptors,
            side=side,
        )
    if save is not None:
        write_parts(found, save)
        err.print(f"[dim]picture: {err.shown(save)}[/]", soft_wrap=True)
    if json:
        print_json(found.to_json())
        return
    _print(found)


def _print(found: Knowledge) -> None:
    err.print(f"[dim]in words of {err.shown(found.descriptors)}, {found.number} descriptors[/]", soft_wrap=True)
    for failure in found.failures:
        err.print(f"[red]not read[/] {err.shown(failure.redacted().path)}: {err.shown(failure.redacted().reason)}")
    if len(found.images) == 1:
        _print_parts(found.images[0])
    else:
        _print_shared(found)
    out.print(f"{out.shown(found.text)} says: [dim]{_words(found.said[:_SHOWN])}, ...[/]", soft_wrap=True)
    sharing = found.images[0].sharing
    out.print(
        f"shared: [bold]{found.estimate('shared').mean:.1f}[/] of {sharing.said} descriptors, by chance {sharing.by_chance:.1f};"
        f" information {found.estimate()} nats, Jaccard {found.estimate('jaccard')}"
        + (f", {len(found.images)} images" if len(found.images) > 1 else ""),
        soft_wrap=True,
    )


def _print_parts(image: ImageKnowledge) -> None:
    out.print(ShownPath(image.path, image.path))
    shared = set(image.shared)
    table = _table("part", "places", "its descriptors, those that the text has too in bold")
    for part in image.parts:
        told = ", ".join(
            f"[bold]{out.shown(name)}[/]" if name in shared else f"[dim]{out.shown(name)}[/]"
            for name in part.descriptors
        )
        table.add_row(str(part.number + 1), str(part.places), told)
    out.print(table)


def _print_shared(found: Knowledge) -> None:
    table = _table("shared with the text", "images")
    for name, count in found.shared()[: 2 * _SHOWN]:
        table.add_row(out.shown(name), str(count))
    out.print(table)


def _table(*heads: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def _words(names: Iterable[str]) -> str:
    return ", ".join(out.shown(name) for name in names)
