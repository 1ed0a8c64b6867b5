"""``t2c classify``: every image to the class whose words it is nearest to."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import READING, app
from t2c_search.cli.render import err, loading, out, print_json, waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2c_search.collection import Collection
    from t2c_search.concepts.zero_shot.judged import Judged
    from t2c_search.concepts.zero_shot.result import Classified

_COVERAGES = (1.0, 0.9, 0.75, 0.5)  # at which a table says what abstaining gains


@app.command(rich_help_panel=READING)
def classify(
    classes: options.Classes,
    query: Annotated[str | None, typer.Argument(help="Only the images that satisfy this.")] = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    where: options.Where = None,
    prompts: Annotated[
        str, typer.Option("--prompts", help="plain, photo, or a file of templates with {} for the class, one a line.")
    ] = "plain",
    centre: Annotated[
        bool, typer.Option("--centre/--no-centre", help="Score against what the whole collection has in common.")
    ] = True,
    abstain: Annotated[
        float,
        typer.Option("--abstain", metavar="MARGIN", min=0, help="No class where the best leads by less than this."),
    ] = 0.0,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="FIELD", help="Compare with this field: confusion matrix, accuracy."),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate", metavar="FIELD", help="Fit temperature and biases by this field; gives confidences."
        ),
    ] = None,
    priors: Annotated[
        bool, typer.Option("--priors", help="Estimate the classes' shares, where the labelled images have others.")
    ] = False,
    balance: Annotated[bool, typer.Option("--balance", help="Give all classes equally many images.")] = False,
    write: Annotated[
        str | None, typer.Option("--write", metavar="NAME", help="Keep the classes as the field derived.NAME.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A picture (.png), a page (.html), or a row an image (.csv).")
    ] = None,
    json: options.Json = False,
    text: options.TextId = None,
    device: options.DeviceName = None,
) -> None:
    """Tell images apart by classes that are named in words, without any training (zero-shot).

    Nothing is written to the collection unless --write says so. Margins are differences of cosines: of a labelled field,
    --against shows what each would leave, and how right.

    \b
    Examples:
      t2c classify --classes "a dog, a cat, a horse"
      t2c classify --classes kinds.txt --prompts photo --against label -o matrix.png
      t2c classify --classes kinds.txt --calibrate label --priors -o kinds.html
      t2c classify --classes "indoors, outdoors" --abstain 0.01 --write place
      t2c mine 'derived.place = "outdoors" AND "a dog"'
    """
    from t2c_search.collection import open_collection
    from t2c_search.export.reading.classes import write_classified

    with open_collection(collection, store, text=text, device=device, wait=waiting(wait)) as images:
        with loading():
            _ = images.models.text
            if query is not None:
                images.load_models(query, where=where)
        found = images.classify(
            classes,
            query,
            where=where,
            prompts=prompts,
            centre=centre,
            abstain=abstain,
            against=against,
            calibrate=calibrate,
            priors=priors,
            balance=balance,
            write=write,
        )
        if output is not None:
            write_classified(found, output, f"Classes in {images.name}", partial(_paths, images))
    if json:
        print_json({"collection": images.name, **found.to_json()})
        return
    if not len(found):
        err.print("no image matches", style="dim")
        return
    out.print(_class_table(found))
    if found.judged is not None:
        _show_judgement(found.judged)
    _show_fit(found)
    none = found.counts()[None]
    out.print(
        f"[dim]{len(found)} images in {len(found.classes)} classes"
        + (f"; {none} lead by less than {abstain:g} and have none" if abstain else "")
        + "[/]"
    )
    if output is not None:
        err.print(f"[dim]written to {err.shown(output)}[/]", soft_wrap=True)
    if write is not None:
        err.print(f"[dim]written to the images; expressions filter by derived.{err.shown(write)}[/]", soft_wrap=True)


def _paths(images: Collection, ids: Sequence[str]) -> dict[str, str]:
    points = images.store.fetch(ids)
    return {each: payload["path"] for each, payload in zip(points.ids, points.payloads, strict=True)}


def _class_table(found: Classified) -> Table:
    """Lay out the classes: how many images each has, and, where a field tells, how right that is and what it is taken for."""
    judged, fitted = found.judged, found.fitted
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("class")
    shares = None if fitted is None or fitted.shares is None else fitted.shares
    for head in ("images", "share", *(["estimated share"] if shares is not None else [])):
        table.add_column(head, justify="right", no_wrap=True)
    if judged is not None:
        for head in (f"by {judged.field}", "found", "right"):
            table.add_column(out.shown(head), justify="right", no_wrap=True)
        table.add_column("most often taken for")
    for at, (name, number) in enumerate(found.counts().items()):
        if name is None:
            if number:
                table.add_row("[dim]no class[/]", str(number), f"{number / len(found):.1%}")
            continue
        row = [out.shown(name), str(number), f"{number / len(found):.1%}"]
        row += [] if shares is None else [f"{shares[at]:.1%}"]
        table.add_row(*row, *([] if judged is None else _judged_cells(judged, at)))
    return table


def _judged_cells(judged: Judged, at: int) -> list[str]:
    """Return a class's images by the field, the share of them found, the share of those found that are right, and its rival."""
    others = judged.matrix[at, :-1].copy()
    others[at] = 0
    rival = int(others.argmax())
    taken = f"[dim]{out.shown(judged.classes[rival])} ({others[rival]})[/]" if others[rival] else ""
    figures = (judged.recall[at], judged.precision[at])
    return [str(judged.matrix[at].sum()), *("" if figure != figure else f"{figure:.1%}" for figure in figures), taken]


def _show_judgement(judged: Judged) -> None:
    """Say how right the classes are, and what abstaining would gain."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title_justify="left")
    for name in ("--abstain", "images kept", "right of them"):
        table.add_column(name, justify="right", no_wrap=True)
    for coverage in _COVERAGES:
        margin, accuracy = judged.risk.at(coverage)
        table.add_row("0" if coverage == 1 else f"{margin:.4f}", f"{coverage:.0%}", f"{accuracy:.1%}")
    out.print(table)
    kept = "" if judged.coverage == 1 else f", the {judged.coverage:.1%} that have a class"
    out.print(
        f"[bold]{judged.accuracy:.1%}[/] right of {judged.images} images with a class in {out.shown(judged.field)}{kept}"
    )


def _show_fit(found: Classified) -> None:
    """Say what was fitted, and whether its confidences hold."""
    if (fitted := found.fitted) is None:
        return
    reliability = found.judged and found.judged.reliability
    error = (
        "" if not reliability else f"; confidences are off by {reliability.error:.3f} on average, on images held out"
    )
    out.print(
        f"calibrated on {fitted.images} images by {out.shown(fitted.field)}: temperature {fitted.temperature:.4f}{error}"
    )
