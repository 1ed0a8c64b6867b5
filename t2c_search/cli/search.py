"""``t2c search``, ``mine``, ``count`` and ``facets``: constraints to images."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from itertools import islice
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import SEARCHING, app
from t2c_search.cli.look import show_sheet
from t2c_search.cli.render import ShownPath, err, loading, out, print_json, standard_output, waiting
from t2c_search.errors import ExpressionError, UsageError, brief

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console, RenderableType

    from t2c_search.collection import Collection
    from t2c_search.results import Certificate, Count, Hit, Mined, Plan, SearchResult

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUERY",
        help='A text, or constraints between single quotes: \'"a dog" AND NOT "a person" AND width >= 1024\'; left out, '
        "--where alone asks.",
    ),
]
Print0 = Annotated[
    bool,
    typer.Option("-0", "--print0", help="Write paths, each ended by a NUL byte, for xargs -0 and whatever is in them."),
]

_MOST_CONDITIONS = 3  # of alternatives that found nothing, told one by one


@app.command(rich_help_panel=SEARCHING)
def search(
    words: Words = None,
    image: Annotated[str | None, typer.Option("--image", help="Search by this image, beside the text if any.")] = None,
    through: Annotated[
        Path | None,
        typer.Option("--through", help="Look at --image through the model of this aligner, made by t2c fit --onto."),
    ] = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    limit: options.Limit = 10,
    where: options.Where = None,
    exact: Annotated[bool, typer.Option("--exact", help="Scan every vector instead of using the index.")] = False,
    diverse: Annotated[bool, typer.Option("--diverse", help="Prefer hits that differ from each other.")] = False,
    group_by: Annotated[
        str | None, typer.Option("--group-by", help="The best hit of each value of this field.")
    ] = None,
    max_candidates: Annotated[
        int | None, typer.Option("--max-candidates", help="Examine no more images; the hits may then be uncertified.")
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            "--max-seconds",
            help="Search no longer, from when the models are loaded, but for one call of the store; the hits may then be "
            "uncertified.",
        ),
    ] = None,
    explain_plan: options.ExplainPlan = False,
    paths: Annotated[bool, typer.Option("--paths", help="Print paths only, one a line, for pipes.")] = False,
    print0: Print0 = False,
    format: options.FormatName = None,
    columns: options.Columns = None,
    output: options.Output = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Draw the hits into this picture, or .html page.")
    ] = None,
    open: options.Open = False,
    explain: Annotated[
        Path | None,
        typer.Option("--explain", help="Write why each is a hit, and where, into this .html page or .json."),
    ] = None,
    json: options.Json = False,
    clip: options.ClipId = None,
    backbone: options.BackboneId = None,
    text: options.TextId = None,
    device: options.DeviceName = None,
    dtype: options.DtypeName = None,
) -> None:
    """Find the images that match best: by a text, by constraints, by an image.

    A text in quotes ranks. With a threshold it excludes too: "a dog" >= 2sd (standard deviations above the collection's
    average), >= 0.27 (cosine), top 5%. like("ID") is an image of the collection, @NAME a learnt concept, A OVER B their
    difference. The whole language is in docs/query.md.

    \b
    Examples:
      t2c search a dog running through the snow -n 8 --sheet dogs.png
      t2c search a dog running through the snow -n 100 --open
      t2c search '"a dog" AND "on grass" AND NOT "a person" AND width >= 1024'
      t2c search '("sunset" >= 2sd OR "night sky" top 1%) AND camera ~ "X100V"'
      t2c search '"sunny" OVER "cloudy" AND taken >= 2023-01-01' --explain-plan
      t2c search '@beach AND NOT "a person" >= 0.25' --format csv -o beaches.csv
      t2c search '"a dog" AND NOT "a person"' --explain why.html
      t2c search 'like("3f0c...")' --where 'width >= 1024' --max-seconds 0.5
      t2c search --image cat.jpg --through resnet-onto-dinov2.safetensors
      t2c search --where 'width >= 4000 AND taken = 2023'
      t2c search --image cat.jpg --where 'camera ~ "X100V"' --print0 | xargs -0 open
    """
    from t2c_search.collection import open_collection
    from t2c_search.export.explaining.explained import check_explanation_file, write_explanations
    from t2c_search.export.separated import check_columns
    from t2c_search.export.sheet import write_sheet

    if explain is not None:
        check_explanation_file(explain)
    form = _chosen_format(format, output, json=json, paths=paths, print0=print0)
    chosen = _chosen_columns(columns, form)
    with open_collection(
        collection,
        store,
        clip=clip,
        backbone=backbone,
        text=text,
        device=device,
        dtype=dtype,
        wait=waiting(wait),
        through=through,
    ) as images:
        query = " ".join(words) if words else None
        with loading(), one_text(words, images):  # most of the time, for a question in a shell
            result = images.search(
                query,
                image=image,
                limit=limit,
                where=where,
                exact=exact,
                diverse=diverse,
                group_by=group_by,
                max_candidates=max_candidates,
                max_seconds=max_seconds,
            )
        check_columns(chosen, images.fields)
        expression = images.expression(query, image=image, where=where)
        nothing = None if result else _nothing_matches(result.plan, images)
        why = None if explain is None else images.explain(expression, hits=result.hits)
    of = "" if result.total is None else f" of {result.total} that match"
    told = f"{len(result)} hits{of} in {result.seconds:.2f} s, {_certainty(result.certificate)}{_as_of(result)}"
    title = brief(query or str(image or where), 200)
    show_sheet(lambda path: write_sheet(result.hits, title, path, notes=(expression, told)), sheet, open=open)
    if why is not None:
        notes = (expression, told)
        show_sheet(lambda path: write_explanations(why, path, title, notes), explain, open=False, what="explained")
    if json:
        print_json({"expression": expression, **result.to_json()})
        return
    if form is not None:
        _write(result, expression, form, output, chosen)
    elif result:
        out.print(_hit_table(result))
    if nothing is not None:
        (err if form else out).print(nothing, style="dim", markup=False, soft_wrap=True)
    _show_plan(result.plan if explain_plan else None, err if form else out)
    if form is None:
        out.print(f"[dim]{told}[/]")


@app.command(rich_help_panel=SEARCHING)
def mine(
    words: Words = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    where: options.Where = None,
    explain_plan: options.ExplainPlan = False,
    print0: Print0 = False,
    format: options.FormatName = None,
    columns: options.Columns = None,
    output: options.Output = None,
    json: options.Json = False,
    text: options.TextId = None,
    device: options.DeviceName = None,
) -> None:
    """Write every image that satisfies the constraints, however many there are: paths, unless --format says otherwise.

    A bare text holds for what stands out from the collection; say how far with a threshold: "a dog" >= 2sd, >= 0.27 (cosine),
    top 5%. The images come in no order of relevance, streamed in constant memory.

    \b
    Examples:
      t2c mine '"a dog" >= 1.5sd AND NOT "a person"' --format csv -o dogs.csv
      t2c mine '"a beach" AND width >= 1024' --format links -o beaches/
    """
    from t2c_search.collection import open_collection
    from t2c_search.export.files import begun, write_json
    from t2c_search.export.separated import check_columns

    form = _chosen_format(format, output, json=json, print0=print0)
    chosen = _chosen_columns(columns, form)
    with open_collection(collection, store, text=text, device=device, wait=waiting(wait)) as images:
        query = " ".join(words) if words else None
        with loading(), one_text(words, images):
            images.load_models(query, where=where)
        check_columns(chosen, images.fields)
        expression = images.expression(query, where=where)
        hits = images.mine(query, where=where)
        if json:
            write_json(begun(hits), expression, standard_output(), hits.to_json)
        else:
            written = _write(hits, expression, form or "paths", output, chosen)
            if not written:
                err.print(_nothing_matches(hits.plan, images), style="dim", markup=False, soft_wrap=True)
            _show_plan(hits.plan if explain_plan else None, err)
            if stale := _as_of(hits):
                err.print(f"[yellow]note[/] the thresholds are{stale.removeprefix(',')}")


@app.command(rich_help_panel=SEARCHING)
def count(
    words: Words = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    where: options.Where = None,
    approx: Annotated[bool, typer.Option("--approx", help="Estimate from a sample, at once.")] = False,
    explain_plan: options.ExplainPlan = False,
    json: options.Json = False,
    text: options.TextId = None,
    device: options.DeviceName = None,
) -> None:
    """Count the images that satisfy the constraints.

    \b
    Examples:
      t2c count '"a dog" AND NOT "a person"'
      t2c count '"a dog" top 5%' --approx
    """
    from t2c_search.collection import open_collection

    if approx and explain_plan:
        raise UsageError("--approx reads a sample and searches nothing: leave out --explain-plan, or --approx")
    with open_collection(collection, store, text=text, device=device, wait=waiting(wait)) as images:
        query = " ".join(words) if words else None
        with loading(), one_text(words, images):
            counted = images.count(query, where=where, approx=approx)
        nothing = None if counted.high else _nothing_matches(counted.plan, images)
    if json:
        print_json(counted.to_json())
        return
    _show_plan(counted.plan if explain_plan else None, out)
    if counted.exact:
        out.print(f"[bold]{counted.count}[/] images{_as_of(counted)}")
        if nothing is not None:
            err.print(nothing, style="dim", markup=False, soft_wrap=True)
    else:
        out.print(
            f"about [bold]{counted.count}[/] images (95 % interval: {counted.low} to {counted.high}){_as_of(counted)}"
        )


@app.command(rich_help_panel=SEARCHING)
def facets(
    field: Annotated[str, typer.Argument(help="Payload field whose values to count, e.g. camera.")],
    query: Annotated[str | None, typer.Argument(help="Only among the images that satisfy this.")] = None,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    where: options.Where = None,
    limit: options.Limit = 20,
    json: options.Json = False,
    text: options.TextId = None,
    device: options.DeviceName = None,
) -> None:
    """Count the values of a payload field, among all images or those that satisfy constraints.

    \b
    Example:
      t2c facets camera '"a portrait"'
    """
    from t2c_search.collection import open_collection

    with open_collection(collection, store, text=text, device=device, wait=waiting(wait)) as images, loading():
        values = images.facets(field, query, where=where, limit=limit)
    if json:
        print_json(values.to_json())
    elif not values:
        err.print(f"no image that matches has {err.shown(field)}", style="dim")
    else:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for value, number in values:
            table.add_row(out.shown(value), str(number))
        out.print(table)


@contextmanager
def one_text(words: Sequence[str] | None, images: Collection) -> Iterator[None]:
    """Raise UsageError where several words, as one question, are more than a text: the shell has eaten its quotes."""
    from t2c_search.query.language.concepts import Phrase
    from t2c_search.query.language.syntax import parse

    several = len(words or ()) > 1
    try:
        yield
        is_text = not several or isinstance(parse(" ".join(words or ()), fields=images.fields), Phrase)
    except ExpressionError:
        if not several:
            raise
        is_text = False
    if not is_text:
        raise UsageError(
            f"an expression with operators is one word of the shell: put all of it between single quotes, as in "
            f"'\"a dog\" AND width >= 1024'; what came is {brief(' '.join(map(repr, words or ())))}"
        )


def _chosen_format(
    format: options.Format | None, output: Path | None, *, json: bool, paths: bool = False, print0: bool = False
) -> str | None:
    """Return the one format asked for; None where none was. Raises UsageError for several, and what does not go together."""
    if json + (paths or print0) + (format is not None) > 1:
        raise UsageError("--json, --paths, --print0 and --format each say how hits are written: give one of them")
    if json and output is not None:
        raise UsageError("--json prints on standard output: write to a file with --format jsonl -o FILE")
    if format in ("links", "copies") and output is None:
        raise UsageError(f"--format {format} needs -o FOLDER, the folder to fill")
    if format == "parquet" and output is None and sys.stdout.isatty():
        raise UsageError("parquet is no text for a terminal: write it to a file with -o FILE, or into a pipe")
    if print0:
        return "paths0"
    return format or ("paths" if paths or output is not None else None)


def _chosen_columns(columns: str | None, format: str | None) -> tuple[str, ...]:
    """Return the columns asked for; none where all are. Raises UsageError for what cannot be used."""
    from t2c_search.export.separated import read_columns

    if columns is not None and format != "csv":
        raise UsageError("--columns chooses those of a CSV: give it with --format csv")
    return read_columns(columns)


def _write(hits: Iterable[Hit], expression: str, format: str, output: Path | None, columns: tuple[str, ...]) -> int:
    """Write hits to a file or folder, or else to standard output; return how many."""
    from t2c_search.export.files import begun, export_hits, writer

    if output is None:
        return writer(format, columns)(begun(hits), expression, standard_output())
    written = export_hits(hits, output, expression=expression, format=format, columns=columns)
    for failure in [failure.redacted() for failure in written.failures]:
        err.print(f"[yellow]not written[/] {err.shown(failure.path)}: {err.shown(failure.reason)}", soft_wrap=True)
    err.print(f"[dim]{written.count} images written to {err.shown(output)}[/]")
    return written.count


def _nothing_matches(plan: Plan | None, images: Collection) -> str:
    """Say that nothing was found, and how many images the conditions alone leave, for it may be for want of these."""
    conditions = dict.fromkeys(branch.where for branch in plan.branches if branch.where) if plan else {}
    left = (f"{brief(where, 200)} alone leaves {images.count(where=where).count}" for where in conditions)
    return "; ".join(["no image matches", *islice(left, _MOST_CONDITIONS)])


def _as_of(answer: SearchResult | Mined | Count) -> str:
    """Say of how many images the statistics are that set an answer's thresholds, where an indexer is at work."""
    return "" if answer.as_of is None else f", as of {answer.as_of} images"


def _show_plan(plan: Plan | None, console: Console) -> None:
    if plan is not None:
        console.print(str(plan), markup=False, soft_wrap=True)


def _certainty(certificate: Certificate) -> str:
    unseen = (
        "may belong to them" if isinf(certificate.gap) else f"may score up to {certificate.gap:.2g} more than the last"
    )
    return {
        "exact": "certified exact",
        "ann": "certified up to the index's recall",
        "none": f"not certified: an unseen image {unseen}",
    }[certificate.kind]


def _hit_table(result: SearchResult) -> Table:
    """Lay out hits with rank, score and cosine, where there are any, and path, the first caption below it."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    ranked = [name for name in ("score", "cosine") if getattr(result[0], name) is not None]
    for name in ("#", *ranked):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("image")
    here = os.getcwd() + os.sep  # noqa: PTH109 - paths in payloads are strings
    for hit in result:
        image: list[RenderableType] = [ShownPath(hit.path, hit.path.removeprefix(here))]
        if captions := hit.payload.get("captions"):
            image.append(f"[dim]{out.shown(captions[0])}[/]")
        table.add_row(str(hit.rank), *(f"{getattr(hit, name) or 0:.3f}" for name in ranked), Group(*image))
    return table
