"""``t2c concept``: concepts learnt from examples, for use in expressions as ``@name``."""

from __future__ import annotations

from typing import Annotated

import typer

from t2c_search.cli import options
from t2c_search.cli.app import SEARCHING, app
from t2c_search.cli.render import err, out, print_json, waiting

concept = typer.Typer(no_args_is_help=True, help="Teach concepts by examples, and use them in expressions as @name.")
app.add_typer(concept, name="concept", rich_help_panel=SEARCHING)

Name = Annotated[str, typer.Argument(help="The concept's name; expressions say @NAME.")]


@concept.command(cls=options.SeveralValues)
def add(
    name: Name,
    yes: Annotated[list[str] | None, typer.Option("--yes", help="Images that show it, one or several.")] = None,
    no: Annotated[list[str] | None, typer.Option("--no", help="Images that do not, one or several.")] = None,
    phrase: Annotated[
        list[str] | None, typer.Option("--phrase", help="A text that names it; several are averaged.")
    ] = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    device: options.DeviceName = None,
) -> None:
    """Learn a concept from images that show it and images that do not, with the threshold that suits it, or from texts.

    \b
    Example:
      t2c concept add beach --phrase "a beach" --yes a.jpg b.jpg --no c.jpg
      t2c concept add bike --phrase "a bicycle" --phrase "somebody cycling" --phrase "a bike"
      t2c mine '@beach AND NOT "a person"'
    """
    from t2c_search.collection import open_collection
    from t2c_search.concepts.saved import ENOUGH_EXAMPLES

    with open_collection(collection, store, device=device, wait=waiting(wait)) as images:
        saved = images.add_concept(name, yes or [], no or [], texts=phrase or [])
    bound = "the default threshold" if saved.threshold is None else f"a threshold of {saved.threshold:.2f} sd"
    out.print(f"saved [bold]@{name}[/] with {bound}")
    if 0 < (marked := len(yes or []) + len(no or [])) < ENOUGH_EXAMPLES:
        err.print(
            f"[yellow]note[/] {marked} marked examples leave its threshold a guess: mark {ENOUGH_EXAMPLES} or more, hits from "
            "the first down to where nothing shows it any more",
            soft_wrap=True,
        )


@concept.command("list")
def list_concepts(
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    json: options.Json = False,
) -> None:
    """List the saved concepts.

    \b
    Example:
      t2c concept list -c photos
    """
    from t2c_search.collection import open_collection

    with open_collection(collection, store, wait=waiting(wait)) as images:
        saved = images.concepts
    if json:
        print_json({"concepts": [{"name": name, "threshold": each.threshold} for name, each in saved.items()]})
    else:
        out.print("\n".join(f"@{name}" for name in saved) or "no concept saved yet; see: t2c concept add --help")


@concept.command()
def remove(
    name: Name,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
) -> None:
    """Forget a saved concept.

    \b
    Example:
      t2c concept remove beach
    """
    from t2c_search.collection import open_collection

    with open_collection(collection, store, wait=waiting(wait)) as images:
        images.remove_concept(name)
    out.print(f"removed @{name}")
