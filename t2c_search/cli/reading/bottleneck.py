"""``t2c bottleneck``: classes told by how much of a few named concepts is in a picture, and what that is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import READING, app
from t2c_search.cli.render import ShownPath, err, loading, out, print_json, waiting
from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from t2c_search.concepts.bottleneck.predict import Prediction, Predictions
    from t2c_search.filters import Scalar
    from t2c_search.state.bottlenecks import Bottleneck, CurvePoint

bottleneck = typer.Typer(
    no_args_is_help=True, help="Tell classes by named concepts: weights to read, and labels that can be asked why."
)
app.add_typer(bottleneck, name="bottleneck", rich_help_panel=READING)

Name = Annotated[str, typer.Argument(help="The bottleneck's name.")]
Query = Annotated[str | None, typer.Argument(help="Which images: an expression; all if left out.")]
_MOST_LEFT_OUT, _MOST_WEIGHTS = 30, 8  # told on a terminal


@bottleneck.command(cls=options.SeveralValues)
def fit(
    name: Name,
    field: Annotated[str, typer.Option("--field", help="The payload field whose values are the classes.")],
    query: Query = None,
    where: options.Where = None,
    vocabulary: Annotated[
        str | None,
        typer.Option(
            "--vocabulary",
            help="The concepts: a file of one a line, several with commas between, 'captions' or 'everyday'; left out, what "
            "suits the text model.",
        ),
    ] = None,
    say: Annotated[
        list[str] | None,
        typer.Option("--say", help="What a value means, as 'n02084071=a dog'; several with commas between."),
    ] = None,
    ncc: Annotated[int, typer.Option("--ncc", min=1, help="How many concepts a decision may take, on average.")] = 15,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the folds and the controls.")] = 0,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    device: options.DeviceName = None,
    json: options.Json = False,
) -> None:
    """Fit a classifier that sees images through named concepts only, and say whether the names are worth anything.

    Its accuracy, on held-out images, stands beside that of as many random directions and random words: where the names are
    not better, it says "no interpretable gain". Concepts that name a class, or come too near to one, are left out.

    \b
    Example:
      t2c bottleneck fit species --field species --vocabulary parts.txt
      t2c bottleneck fit indoors --field room --vocabulary captions --ncc 5
      t2c bottleneck fit kinds --field synset --say 'n02084071=a dog' 'n02121808=a cat, a kitten'
    """
    from t2c_search.collection import open_collection

    with open_collection(collection, store, device=device, wait=waiting(wait)) as images, loading():
        fitted = images.fit_bottleneck(
            name, field, query, where=where, vocabulary=vocabulary, wordings=_pairs("--say", say), ncc=ncc, seed=seed
        )
    if json:
        print_json(fitted.to_json())
        return
    told = fitted.fitted
    out.print(
        f"saved [bold]{out.shown(name)}[/]: {len(fitted.classes)} classes of {out.shown(field)} by {len(fitted.concepts)} of "
        f"{told.concepts} concepts of {out.shown(told.vocabulary)}; fitted on {told.images} of {told.found} labelled images"
    )
    _print_curve(fitted)
    if told.left_out:
        _print_left_out(fitted)
    if told.rare:
        rare = ", ".join(str(value) for value in told.rare[:_MOST_LEFT_OUT])
        err.print(f"[yellow]note[/] values of too few images are no class: {err.shown(rare)}", soft_wrap=True)


@bottleneck.command()
def show(
    name: Name,
    label: Annotated[
        list[str] | None, typer.Option("--class", help="Only this class; several times for several.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Draw it to this file: .html, .png, .svg or .pdf.")
    ] = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    json: options.Json = False,
) -> None:
    """Show what a bottleneck is worth, and which concepts speak for and against each class.

    A weight is what one standard deviation more of a concept adds to the class's log odds.

    \b
    Example:
      t2c bottleneck show species
      t2c bottleneck show species --class owl -o owl.png
    """
    from t2c_search.collection import open_collection
    from t2c_search.state.bottlenecks import named

    with open_collection(collection, store, wait=waiting(wait)) as images:
        found = named(images.bottlenecks, name)
    classes = _classes(found, label or [])
    if output is not None:
        from t2c_search.export.reading.bottleneck import write_bottleneck

        write_bottleneck(found, output, classes)
        err.print(f"[dim]picture: {err.shown(output)}[/]", soft_wrap=True)
    if json:
        print_json(found.to_json())
        return
    _print_curve(found)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("class", "for it", "against it"):
        table.add_column(column, overflow="fold")
    for each in classes:
        weighed = found.weighed(each)
        table.add_row(
            out.shown(each),
            _weights([(concept, weight) for concept, weight in weighed if weight > 0]),
            _weights([(concept, weight) for concept, weight in weighed if weight < 0]),
        )
    out.print(table)


@bottleneck.command(cls=options.SeveralValues)
def predict(
    name: Name,
    query: Query = None,
    where: options.Where = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="A concept's score, as 'wings=0': standard deviations above the average image."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the labels to derived.NAME, by which expressions then filter.")
    ] = False,
    limit: Annotated[int, typer.Option("-n", "--limit", min=0, help="How many images to list.")] = 10,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    device: options.DeviceName = None,
    json: options.Json = False,
) -> None:
    """Label images, each with the concepts that say so; or ask what the labels would be if a concept were otherwise.

    \b
    Example:
      t2c bottleneck predict species '"a bird" >= 1sd'
      t2c bottleneck predict species --set wings=0 -n 20
      t2c bottleneck predict species --write && t2c mine 'derived.species = owl AND NOT "at night"'
    """
    from t2c_search.collection import open_collection

    changes = {concept: _number(concept, value) for concept, value in _pairs("--set", change).items()}
    with open_collection(collection, store, device=device, wait=waiting(wait)) as images, loading():
        found = images.predict(name, query, where=where, set=changes, write=write)
    if json:
        print_json(found.to_json())
        return
    _print_summary(found)
    _print_predictions([found[at] for at in range(min(limit, len(found)))], changed=bool(changes))
    if write:
        err.print(f"[dim]written to derived.{err.shown(name)}[/]", soft_wrap=True)


@bottleneck.command("list")
def list_bottlenecks(
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    json: options.Json = False,
) -> None:
    """List the saved bottlenecks.

    \b
    Example:
      t2c bottleneck list -c photos
    """
    from t2c_search.collection import open_collection

    with open_collection(collection, store, wait=waiting(wait)) as images:
        saved = images.bottlenecks
    if json:
        print_json({"bottlenecks": [each.to_json() for each in saved.values()]})
        return
    for each in saved.values():
        told = f"{len(each.classes)} classes of {each.field} by {len(each.concepts)} concepts; {each.verdict}"
        out.print(f"[bold]{out.shown(each.name)}[/]: {out.shown(told)}", soft_wrap=True)
    if not saved:
        out.print("no bottleneck saved yet; see: t2c bottleneck fit --help")


@bottleneck.command()
def remove(
    name: Name,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
) -> None:
    """Forget a saved bottleneck; labels that were written stay.

    \b
    Example:
      t2c bottleneck remove species
    """
    from t2c_search.collection import open_collection

    with open_collection(collection, store, wait=waiting(wait)) as images:
        images.remove_bottleneck(name)
    out.print(f"removed {out.shown(name)}")


def _print_curve(fitted: Bottleneck) -> None:
    """Lay out accuracies by NCC, the controls below the names."""
    points = fitted.curve.points
    nccs = sorted({each.most for each in points if each.most is not None})
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        title="right on held-out images, in % (and the NCC it came to)",
        title_justify="left",
    )
    table.add_column("")
    for most in nccs:
        table.add_column(f"NCC <= {most}", justify="right", style="bold" if most == fitted.fitted.ncc else "")
    table.add_column("no limit", justify="right")
    for head in dict.fromkeys(each.head for each in points):
        found = {each.most: each for each in points if each.head == head}
        table.add_row(head, *(_accuracy(found.get(most)) for most in (*nccs, None)))
    out.print(table)
    style = "green" if fitted.gain.interpretable else "yellow"
    out.print(f"[{style}]{fitted.verdict}[/]", soft_wrap=True)


def _accuracy(point: CurvePoint | None) -> str:
    if point is None:
        return ""
    return f"{100 * point.accuracy:.1f}" + ("" if point.ncc is None else f" ({point.ncc:.1f})")


def _print_left_out(fitted: Bottleneck) -> None:
    left = fitted.fitted.left_out
    told = ", ".join(each.told for each in left[:_MOST_LEFT_OUT])
    more = f", and {len(left) - _MOST_LEFT_OUT} more (--json lists all)" if len(left) > _MOST_LEFT_OUT else ""
    out.print(f"[dim]left out, too near to a class or another concept: {out.shown(told)}{more}[/]", soft_wrap=True)


def _print_summary(found: Predictions) -> None:
    counts = ", ".join(f"{label} {count}" for label, count in found.counts().items() if count)
    out.print(
        f"[bold]{len(found)}[/] images by {out.shown(found.bottleneck)}: {out.shown(counts) or 'none'}", soft_wrap=True
    )
    if found.changes:
        told = ", ".join(f"{concept} = {value:g}" for concept, value in found.changes.items())
        out.print(f"with {out.shown(told)}: [bold]{found.changed}[/] labels are others", soft_wrap=True)
    elif found.accuracy is not None:
        share = f"{100 * found.accuracy:.1f} % agree with {found.field}; the images it was fitted on are among them"
        out.print(f"[dim]{out.shown(share)}[/]", soft_wrap=True)


def _print_predictions(rows: list[Prediction], *, changed: bool) -> None:
    if not rows:
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("image", *(["before"] if changed else []), "label", "share", "because"):
        table.add_column(column, overflow="fold")
    for row in rows:
        before = [out.shown(row.before)] if changed else []
        table.add_row(
            ShownPath(row.path, row.path),
            *before,
            out.shown(row.label),
            f"{row.share:.2f}",
            _weights(row.contributions),
        )
    out.print(table)


def _weights(weighed: list[tuple[str, float]] | tuple[tuple[str, float], ...]) -> str:
    told = "  ".join(f"{weight:+.1f} {concept}" for concept, weight in weighed[:_MOST_WEIGHTS])
    return out.shown(told + (f"  and {len(weighed) - _MOST_WEIGHTS} more" if len(weighed) > _MOST_WEIGHTS else ""))


def _classes(found: Bottleneck, asked: list[str]) -> tuple[Scalar, ...]:
    """Return the classes of these names, or all."""
    by_name = {str(label): label for label in found.classes}
    if strange := [name for name in asked if name not in by_name]:
        raise UsageError(f"{strange[0]!r} is no class of {found.name!r}; there are: {', '.join(by_name)}")
    return tuple(by_name[name] for name in asked) or found.classes


def _pairs(option: str, given: list[str] | None) -> dict[str, list[str]]:
    """Read ``name=value, value`` into values by name."""
    found: dict[str, list[str]] = {}
    for each in given or []:
        name, sign, values = each.partition("=")
        said = [value.strip() for value in values.split(",") if value.strip()]
        if not (sign and name.strip() and said):
            raise UsageError(f"{each!r} cannot be read; write {option} NAME=VALUE")
        found[name.strip()] = said
    return found


def _number(concept: str, values: list[str]) -> float:
    try:
        (value,) = values
        return float(value)
    except ValueError as exc:
        raise UsageError(f"{concept!r} is set to {', '.join(values)}; expected one number, such as 0 or 1.5") from exc
