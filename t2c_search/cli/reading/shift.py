"""``t2c shift``: how two sets of images differ, in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import READING, app
from t2c_search.cli.render import err, loading, out, print_json, waiting
from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from t2c_search.concepts.shift.result import Shift, ShiftSide

_LIKE = 3  # other words of a finding that are named


@app.command(rich_help_panel=READING)
def shift(
    a: Annotated[str | None, typer.Argument(metavar="[A]", help="One side: images that satisfy this.")] = None,
    b: Annotated[str | None, typer.Argument(metavar="[B]", help="The other side; left out, all others.")] = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    other: Annotated[
        str | None, typer.Option("--other", metavar="NAME", help="B is of this collection: all of it, or what B says.")
    ] = None,
    other_store: Annotated[
        str | None, typer.Option("--other-store", help="Where that collection is; left out, in the same store.")
    ] = None,
    words: Annotated[
        str | None,
        typer.Option(
            "--vocabulary",
            help="A file of one concept a line, concepts with commas between, captions, or everyday; left out, what suits "
            "the model.",
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="FIELD", help="Compare only images of the same value of this field.")
    ] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=20, help="Findings of each side.")] = 8,
    permutations: Annotated[
        int, typer.Option("--permutations", min=19, max=100_000, help="How often sides are dealt out by chance.")
    ] = 999,
    seed: Annotated[int, typer.Option("--seed", min=0, help="What chance begins with.")] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A picture (.png, .svg), or a page with images (.html).")
    ] = None,
    json: options.Json = False,
    text: options.TextId = None,
    device: options.DeviceName = None,
) -> None:
    """Tell in words how two sets of images differ: what each side has more of, by how much, and how sure that is.

    g is the difference in standard deviations (0.2 is small, 0.8 large), AUROC the chance that an image of A scores above
    one of B. p holds for all words together. Images that are in both sides are left out.

    \b
    Examples:
      t2c shift 'taken < 2020' 'taken >= 2020' -o years.html
      t2c shift '"a dog"' --vocabulary captions
      t2c shift 'derived.right = false' 'derived.right = true' --by camera
      t2c shift -c spring --other autumn -o seasons.png
    """
    from t2c_search.collection import open_collection
    from t2c_search.collection.in_words.shifting import shift_between
    from t2c_search.export.reading.shift import write_shift

    if a is None and other is None:
        raise UsageError(
            "say which images to compare: A, and B or else all others; or --other NAME for two collections"
        )
    with open_collection(collection, store, text=text, device=device, wait=waiting(wait)) as images:
        with loading():
            _ = images.models.text
        if other is None:
            found = images.shift(a or "", b, vocabulary=words, by=by, permutations=permutations, seed=seed)
        else:
            with open_collection(other, other_store or store, device=device, wait=waiting(wait)) as second:
                found = shift_between(
                    images, second, a, b, vocabulary=words, by=by, permutations=permutations, seed=seed
                )
    if output is not None:
        write_shift(found, output, f"{found.a.name} against {found.b.name}")
    if json:
        print_json(found.to_json())
        return
    _show(found, limit)
    if output is not None:
        err.print(f"[dim]written: {err.shown(output)}[/]", soft_wrap=True)


def _show(found: Shift, limit: int) -> None:
    first, *others = found.told
    out.print(f"[bold]{out.shown(first)}[/]", soft_wrap=True)
    for line in others:
        out.print(out.shown(line), soft_wrap=True)
    for letter, side in found.sides:
        out.print(_table(letter, side, limit))


def _table(letter: str, side: ShiftSide, limit: int) -> Table:
    table = Table(
        title=f"\nMore in {letter}: {out.shown(side.name)} ({side.images} images)", title_justify="left", box=None
    )
    table.add_column("word", overflow="fold")
    for heading in ("g", "95 % interval", "AUROC", "q", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("says the same", style="dim", overflow="fold")
    for finding in side.findings[:limit]:
        word = finding.word
        more = f" and {len(finding.like) - _LIKE} more" if len(finding.like) > _LIKE else ""
        table.add_row(
            out.shown(word.word),
            f"{word.g:+.2f}",
            f"{word.low:+.2f} to {word.high:+.2f}",
            f"{word.auroc:.2f}",
            _p(word.q),
            _p(word.max_t_p),
            out.shown(", ".join(finding.like[:_LIKE]) + more),
            style="" if word.sure else "dim",
        )
    return table


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
