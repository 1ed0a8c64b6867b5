"""``t2c compare-models``: which encoders share most with a text side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import EXPLAINING, app
from t2c_search.cli.render import err, out, print_json, progress_bar, waiting
from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from t2c_search.explain.mutual.comparing import Comparison


@app.command(rich_help_panel=EXPLAINING)
def compare_models(
    models: Annotated[str, typer.Option("--models", metavar="A,B,C", help="Models by id, with commas between.")],
    classes: options.Classes,
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, in each of whose folders lie a class's images; left out, a collection's images."),
    ] = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    field: Annotated[
        str | None,
        typer.Option(
            "--field",
            help="The field that says an image's class; left out, the collection's vectors do, or the folder it lies in.",
        ),
    ] = None,
    most: options.Most = 30,
    descriptors: options.Descriptors = None,
    side: options.Side = None,
    fit_pairs: options.FitPairs = None,
    json: options.Json = False,
    clip: options.ClipId = None,
    text: options.TextId = None,
    device: options.DeviceName = None,
    dtype: options.DtypeName = None,
) -> None:
    """Tell which models see in images what a text side means by their classes, in descriptors.

    Each looks at the same images. A model that understands texts is held against its own; any other is aligned onto the
    collection's CLIP model first, on other images. Ranges are 95 % intervals over the images.

    \b
    Examples:
      t2c compare-models --models timm:resnet50.a1_in1k,timm:convnext_tiny.fb_in22k --classes "a dog, a cat" --field label
      t2c compare-models -c drawn --models mini,mini:cnn,mini:vit --classes "a star, a heart, a ring"
      t2c compare-models animals --models timm:resnet50.a1_in1k,timm:resnet18.a1_in1k --classes "dog, cat"
    """
    from t2c_search.collection import open_collection

    if sources and (collection or store):
        raise UsageError("name folders, or a collection, not both: the images of which are models to be compared on?")
    if sources:
        collection, store, field = "compared", ":memory:", field or "folders"
    with (
        open_collection(
            collection, store, clip=clip, text=text, device=device, dtype=dtype, wait=waiting(wait)
        ) as images,
        progress_bar() as bar,
    ):
        if sources:
            images.index(sources, fit_pairs=fit_pairs, progress=bar)
        found = images.compare_models(
            [model.strip() for model in models.split(",")],
            classes,
            field=field,
            most=most,
            descriptors=descriptors,
            side=side,
            fit_pairs=fit_pairs,
            progress=bar,
        )
    if json:
        print_json(found.to_json())
        return
    _print(found)


def _print(found: Comparison) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("model", overflow="fold")
    judged = found.models[0].accuracy is not None
    heads = ("information shared", "behind the first", "shared", "Jaccard", *(["accuracy"] if judged else []))
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for each in found.models:
        row = [str(each.mutual_information), "" if each.behind is None else str(each.behind)]
        row += [f"{each.shared.mean:.1f} of {found.side}", f"{each.jaccard.mean:.3f}"]
        table.add_row(out.shown(each.model), *row, *([] if each.accuracy is None else [str(each.accuracy)]))
    out.print(table)
    for failure in found.failures:
        err.print(f"[red]not read[/] {err.shown(failure.redacted().path)}: {err.shown(failure.redacted().reason)}")
    chance = found.side**2 / found.number
    out.print(
        f"[dim]{found.images} images of {len(found.classes)} classes, in {found.number} descriptors of "
        f"{out.shown(found.descriptors)}; {chance:.1f} are shared by chance; information in nats[/]",
        soft_wrap=True,
    )
