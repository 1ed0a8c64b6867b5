"""``t2c collections``, ``delete`` and ``remove``: which collections there are, and what is taken out of them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from t2c_search.cli import options
from t2c_search.cli.app import COLLECTIONS, app
from t2c_search.cli.render import confirm, err, out, print_json
from t2c_search.settings import load_settings

Name = Annotated[str, typer.Argument(metavar="NAME", help="The collection's name.")]


@app.command(rich_help_panel=COLLECTIONS)
def collections(store: options.StoreLocation = None, json: options.Json = False) -> None:
    """List the collections of a store.

    \b
    Example:
      t2c collections --store ./photos.t2c
    """
    from t2c_search.collection.managing import list_collections

    store = store or load_settings().store
    names = list_collections(store)
    if json:
        print_json({"store": store, "collections": names})
    elif names:
        out.print("\n".join(names), markup=False)
    else:
        err.print(f"no collection in {store} yet; make one with: t2c index FOLDER", style="dim", markup=False)


@app.command(rich_help_panel=COLLECTIONS)
def delete(
    name: Name, store: options.StoreLocation = None, yes: options.Yes = False, json: options.Json = False
) -> None:
    """Delete a collection, with its vectors and concepts; asks first. Image files are left alone.

    \b
    Example:
      t2c delete photos --store ./photos.t2c
    """
    from t2c_search.collection import open_collection
    from t2c_search.collection.managing import delete_collection

    with open_collection(name, store) as images:
        count, location = images.store.count(), images.store.location
    confirm(f"Delete collection {name!r} of {count} images from {location}?", yes=yes)
    delete_collection(name, store)
    if json:
        print_json({"collection": name, "images": count})
    else:
        out.print(f"deleted [bold]{escape(name)}[/] and its {count} images")


@app.command(rich_help_panel=COLLECTIONS, cls=options.SeveralValues)
def remove(
    query: Annotated[str | None, typer.Argument(help="Constraints: the images that t2c mine finds by them.")] = None,
    ids: Annotated[list[str] | None, typer.Option("--ids", help="Ids of images, one or several.")] = None,
    where: options.Where = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many, and remove nothing.")] = False,
    yes: options.Yes = False,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    json: options.Json = False,
    text: options.TextId = None,
    device: options.DeviceName = None,
) -> None:
    """Take images out of a collection: all that satisfy constraints, or some by id. Asks first, with their number.

    Image files are left alone; t2c index of their folders brings the images back.

    \b
    Examples:
      t2c remove -c photos '"a screenshot" >= 2sd' --dry-run
      t2c remove -c photos --where 'width < 200 OR folders = "thumbnails"'
      t2c remove -c photos --ids 3f0c7c1e-5f0b-5d0e-8f6a-1b7c55a0b3d1 --yes
    """
    from t2c_search.collection import open_collection

    with open_collection(collection, store, text=text, device=device) as images:
        found = images.remove(query, where=where, ids=ids or (), dry_run=True)
        if found and not dry_run:
            confirm(f"Remove {len(found)} images from collection {images.name!r}?", yes=yes)
            images.remove(ids=found)
        left = images.store.count()
    if json:
        print_json({"collection": images.name, "ids": found, "removed": 0 if dry_run else len(found), "images": left})
    elif dry_run:
        out.print(f"would remove [bold]{len(found)}[/] images of {left}; t2c mine lists them")
    else:
        out.print(f"removed [bold]{len(found)}[/] images; {left} are left")
