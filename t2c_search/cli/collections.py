"""``t2c collections``, ``delete``, ``rename``, ``copy`` and ``remove``: what is done to collections as a whole."""

from __future__ import annotations

from typing import Annotated

import typer

from t2c_search.cli import options
from t2c_search.cli.app import COLLECTIONS, app
from t2c_search.cli.render import confirm, err, out, print_json, progress_bar
from t2c_search.errors import redact
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
    names, shown = list_collections(store), redact(store)
    if json:
        print_json({"store": shown, "collections": names})
    elif names:
        out.print("\n".join(names), markup=False)
    else:
        err.print(f"no collection in {shown} yet; make one with: t2c index FOLDER", style="dim", markup=False)


@app.command(rich_help_panel=COLLECTIONS)
def delete(
    name: Name, store: options.StoreLocation = None, yes: options.Yes = False, json: options.Json = False
) -> None:
    """Delete a collection, with its vectors and concepts; asks first. Image files are left alone.

    \b
    Example:
      t2c delete photos --store ./photos.t2c
    """
    from t2c_search.collection.managing import count_images, delete_collection

    count = count_images(name, store)
    what = ", which is damaged," if count is None else f" of {count} images"
    confirm(f"Delete collection {name!r}{what} from {redact(store or load_settings().store)}?", yes=yes)
    delete_collection(name, store)
    if json:
        print_json({"collection": name, "images": count})
    else:
        out.print(f"deleted [bold]{out.shown(name)}[/] and its {'' if count is None else f'{count} '}images")


@app.command(rich_help_panel=COLLECTIONS)
def rename(
    name: Name,
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="Its name from now on.")],
    store: options.StoreLocation = None,
    json: options.Json = False,
) -> None:
    """Give a collection another name.

    In a folder that is done in one step. A Qdrant server cannot rename: there the collection is copied, which takes time
    and room for it once more, and then deleted. Stopped half way, it has its former name, and the same command goes on.

    \b
    Example:
      t2c rename photos holidays --store ./photos.t2c
    """
    from t2c_search.collection.managing import rename_collection

    with progress_bar() as progress:
        rename_collection(name, new_name, store, progress=progress)
    if json:
        print_json({"collection": new_name, "former": name})
    else:
        out.print(f"renamed {out.shown(name)} to [bold]{out.shown(new_name)}[/]")


@app.command(rich_help_panel=COLLECTIONS)
def copy(
    name: Name,
    to_store: Annotated[
        str | None, typer.Option("--to-store", help="Folder or http:// address to copy to; the same store if left out.")
    ] = None,
    new_name: Annotated[str | None, typer.Option("--as", help="The copy's name; the same if left out.")] = None,
    store: options.StoreLocation = None,
    json: options.Json = False,
) -> None:
    """Copy a collection to another store, a folder or a server, with all that it keeps, bit for bit.

    It can be searched once it is complete. Stopped half way, the same command goes on from there. What is in the
    target under that name and is something else is left alone.

    \b
    Examples:
      t2c copy photos --store ./photos.t2c --to-store http://localhost:6333
      t2c copy photos --as photos-before
    """
    from t2c_search.collection.managing import copy_collection

    with progress_bar() as progress:
        report = copy_collection(name, to_store, new_name, store=store, progress=progress)
    if json:
        print_json(report.to_json())
    else:
        out.print(
            f"copied [bold]{report.images}[/] images to {out.shown(report.collection)} in {out.shown(redact(report.store))} in "
            f"{report.seconds:.1f} s" + (f", {report.written} of them now" if report.written < report.images else "")
        )


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
