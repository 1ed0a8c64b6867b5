"""``t2c explain``: which places of an image, and which words of an expression, made it a hit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import EXPLAINING, app
from t2c_search.cli.explaining.grounding import print_grounding
from t2c_search.cli.explaining.region import print_region
from t2c_search.cli.look import show_sheet
from t2c_search.cli.render import ShownPath, err, loading, out, print_json, waiting
from t2c_search.cli.search import one_text
from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from t2c_search.explain.explanation import ExplainedLiteral, Explanation
    from t2c_search.types import Failure

_DOWN, _ACROSS = ("upper", "middle", "lower"), ("left", "middle", "right")


@app.command(cls=options.SeveralValues, rich_help_panel=EXPLAINING)
def explain(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="QUERY", help="A text, or constraints, as t2c search takes them.")
    ] = None,
    rank: Annotated[int, typer.Option("--rank", min=1, help="Explain the hit of this rank.")] = 1,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Explain the image of this id, or several.")] = None,
    paths: Annotated[
        list[str] | None, typer.Option("--path", help="Explain the image at this path, or several, hits or not.")
    ] = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    where: options.Where = None,
    method: options.Method = "auto",
    no_ranks: Annotated[
        bool, typer.Option("--no-ranks", help="Do not read all vectors to tell the ranks without each literal.")
    ] = False,
    grounding: Annotated[
        str | None,
        typer.Option(
            "--grounding",
            metavar="WORDS",
            help="Explain no image, but what the model knows: of each of these words, a file of one a line or commas between, "
            "whether its map points at what it names.",
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            metavar="L,T,R,B",
            help="Say in words what this box of the image at --path or of --id shows: left, top, right, bottom in pixels.",
        ),
    ] = None,
    vocabulary: Annotated[
        str | None, typer.Option("--vocabulary", help="Words for --region, as for t2c describe.")
    ] = None,
    boxes: Annotated[
        str | None,
        typer.Option(
            "--boxes", metavar="FIELD", help="Where things are, for --grounding; left out, captions and collages tell."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="ALIGNER", help="Compare --grounding with this aligner's model, or with clip."
        ),
    ] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=5, help="Pictures of each word of --grounding.")] = 40,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write a picture (.png, .svg), a page (.html) or the numbers (.json).")
    ] = None,
    open: options.Open = False,
    json: options.Json = False,
    clip: options.ClipId = None,
    backbone: options.BackboneId = None,
    text: options.TextId = None,
    device: options.DeviceName = None,
    dtype: options.DtypeName = None,
) -> None:
    """Show why an image is a hit: where each part of the expression was seen, what it gives to the score, and what if not.

    What the parts give sums to the score, in standard deviations. A NOT gives less where its text is seen. Of an OR, the
    alternative that gave the score is explained.

    \b
    Examples:
      t2c explain -c photos '"a dog" AND "on grass" AND NOT "a person"' --save why.png
      t2c explain a red scarf --rank 3 --open
      t2c explain '"a dog" >= 2sd' --path missed.jpg
      t2c explain --path cat.jpg --region 0,0,200,120 --vocabulary captions
      t2c explain --grounding "dog, bicycle, snow" --against other.safetensors
    """
    from t2c_search.collection import open_collection
    from t2c_search.export.explaining.explained import check_explanation_file, write_explanations
    from t2c_search.export.explaining.grounding import check_grounding_file, write_grounding

    named = [*(ids or []), *(paths or [])]
    if grounding is not None and (words or where or named):
        raise UsageError(
            "--grounding tells what the model knows of words: leave out the query, and which image to explain"
        )
    if region is not None and (words or where or grounding or save or len(named) != 1):
        raise UsageError("--region tells what a box of one image shows: name that by --path or --id, and nothing else")
    if grounding is None and (boxes or against):
        raise UsageError("--boxes and --against belong to --grounding WORDS: give it, or leave them out")
    if region is None and vocabulary:
        raise UsageError("--vocabulary belongs to --region: give it, or leave it out")
    if save is not None:
        (check_explanation_file if grounding is None else check_grounding_file)(save)
    with (
        open_collection(
            collection,
            store,
            clip=clip,
            backbone=backbone,
            text=text,
            device=device,
            dtype=dtype,
            wait=waiting(wait),
        ) as images,
        loading(),
        one_text(words, images),
    ):
        if grounding is not None:
            known = images.grounding(grounding, boxes=boxes, against=against, images=limit, method=method)
            show_sheet(lambda path: write_grounding(known, path), save, open=False, what="what it knows")
            print_grounding(known, json=json)
            return
        if region is not None:
            shown = images.explain_region(named[0], _box(region), vocabulary=vocabulary, method=method)
            print_region(shown, json=json)
            return
        found = images.explain(
            " ".join(words) if words else None,
            where=where,
            rank=rank,
            ids=ids or [],
            paths=paths or [],
            method=method,
            counterfactual=not no_ranks,
        )
    show_sheet(lambda path: write_explanations(found, path, found.expression), save, open=open, what="explanation")
    if json:
        print_json(found.to_json())
        return
    for image in found:
        _print(image)
    print_failures(found.failures)


def print_failures(failures: Iterable[Failure]) -> None:
    """Name the images that could not be explained."""
    for failure in failures:
        err.print(f"[yellow]not explained[/] {err.shown(failure.redacted().reason)}", soft_wrap=True)


def _box(region: str) -> list[float]:
    """Read four numbers. Raises UsageError for anything else."""
    try:
        left, top, right, bottom = (float(part) for part in region.split(","))
    except ValueError as exc:
        raise UsageError(
            f"{region!r} is no box: expected left, top, right and bottom in pixels, as in 0,0,200,120"
        ) from exc
    return [left, top, right, bottom]


def _print(image: Explanation) -> None:
    from t2c_search.export.explaining.explained import method, standing, summary

    out.print(ShownPath(image.path, image.path))
    out.print(f"[dim]{standing(image)}[/][bold]score {image.score:.2f}[/]")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("literal", overflow="fold")
    for name in ("gives", "z", *(["rank without it"] if image.counterfactual else [])):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("seen", no_wrap=True)
    if any(literal.words for literal in image.literals):
        table.add_column("words", overflow="fold")
    for literal in image.literals:
        row = [out.shown(literal.constraint), f"{literal.contribution:+.2f}", f"{literal.z:+.2f}"]
        if image.counterfactual:
            row.append("" if literal.rank_without is None else str(literal.rank_without))
        words = " ".join(f"{out.shown(word.word)} [dim]{word.share:+.2f}[/]" for word in literal.words)
        table.add_row(*row, _place(image, literal), words)
    out.print(table)
    for line in summary(image) + method([image]):
        out.print(f"[dim]{out.shown(line)}[/]", soft_wrap=True)


def _place(image: Explanation, literal: ExplainedLiteral) -> str:
    """Say in which part of the image most of a literal is seen, also where it should not be."""
    seen = literal.map if literal.wanted else -literal.map
    if seen.max() <= 0:
        return "[dim]nowhere[/]"
    rows, columns = image.grid
    row, column = divmod(int(seen.argmax()), columns)
    view = image.view
    down = view.top + (row + 0.5) / rows * (view.bottom - view.top)
    across = view.left + (column + 0.5) / columns * (view.right - view.left)
    words = [names[min(max(int(3 * at), 0), 2)] for names, at in ((_DOWN, down), (_ACROSS, across))]
    return "middle" if words[0] == words[1] else " ".join(words)
