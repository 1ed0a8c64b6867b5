"""``t2c search``, ``mine``, ``count`` and ``facets``: constraints to images."""

from __future__ import annotations

import os
import sys
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import SEARCHING, app
from t2c_search.cli.render import err, out, print_json, waiting
from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from t2c_search.results import Certificate, Count, Hit, Mined, Plan, SearchResult

Expression = Annotated[
    str, typer.Argument(help='A text, or constraints: \'"a dog" AND NOT "a person" AND width >= 1024\'.')
]


@app.command(rich_help_panel=SEARCHING)
def search(
    query: Annotated[str | None, typer.Argument(help="A text, or constraints; left out with --image.")] = None,
    image: Annotated[str | None, typer.Option("--image", help="Search by this image, beside the text if any.")] = None,
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
        float | None, typer.Option("--max-seconds", help="Search no longer; the hits may then be uncertified.")
    ] = None,
    explain_plan: options.ExplainPlan = False,
    paths: Annotated[bool, typer.Option("--paths", help="Print paths only, one a line, for pipes.")] = False,
    format: options.FormatName = None,
    columns: options.Columns = None,
    output: options.Output = None,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="Draw the hits into this picture.")] = None,
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
      t2c search "a dog running through the snow" -n 8 --sheet dogs.png
      t2c search '"a dog" AND "on grass" AND NOT "a person" AND width >= 1024'
      t2c search '("sunset" >= 2sd OR "night sky" top 1%) AND camera ~ "X100V"'
      t2c search '"sunny" OVER "cloudy" AND taken >= 2023-01-01' --explain-plan
      t2c search '@beach AND NOT "a person" >= 0.25' --format csv -o beaches.csv
      t2c search 'like("3f0c...")' --where 'width >= 1024' --max-seconds 0.5
      t2c search --image cat.jpg --where 'camera ~ "X100V"' --paths | xargs open
    """
    from t2c_search.collection import open_collection

    form = _chosen_format(format, output, json=json, paths=paths)
    chosen = _chosen_columns(columns, form)
    with open_collection(
        collection, store, clip=clip, backbone=backbone, text=text, device=device, dtype=dtype, wait=waiting(wait)
    ) as images:
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
        expression = images.expression(query, image=image, where=where)
    if sheet is not None:
        from t2c_search.export.sheet import write_sheet

        write_sheet(result.hits, query or str(image), sheet)
    if json:
        print_json({"expression": expression, **result.to_json()})
        return
    if form is not None:
        _write(result, expression, form, output, chosen)
    else:
        _show_hits(result)
    _show_plan(result.plan if explain_plan else None, err if form else out)
    if form is None:
        out.print(
            f"[dim]{len(result)} hits in {result.seconds:.2f} s, {_certainty(result.certificate)}{_as_of(result)}[/]"
        )
    if sheet is not None:
        err.print(f"[dim]contact sheet: {escape(str(sheet))}[/]")


@app.command(rich_help_panel=SEARCHING)
def mine(
    query: Expression,
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    where: options.Where = None,
    explain_plan: options.ExplainPlan = False,
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

    form = _chosen_format(format, output, json=json)
    chosen = _chosen_columns(columns, form)
    with open_collection(collection, store, text=text, device=device, wait=waiting(wait)) as images:
        expression = images.expression(query, where=where)
        hits = images.mine(query, where=where)
        if json:
            write_json(begun(hits), expression, sys.stdout.buffer, hits.to_json)
        else:
            _write(hits, expression, form or "paths", output, chosen)
            _show_plan(hits.plan if explain_plan else None, err)
            if stale := _as_of(hits):
                err.print(f"[yellow]note[/] the thresholds are{stale.removeprefix(',')}")


@app.command(rich_help_panel=SEARCHING)
def count(
    query: Expression,
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
        counted = images.count(query, where=where, approx=approx)
    if json:
        print_json(counted.to_json())
        return
    _show_plan(counted.plan if explain_plan else None, out)
    if counted.exact:
        out.print(f"[bold]{counted.count}[/] images{_as_of(counted)}")
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

    with open_collection(collection, store, text=text, device=device, wait=waiting(wait)) as images:
        values = images.facets(field, query, where=where, limit=limit)
    if json:
        print_json(values.to_json())
    else:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for value, number in values:
            table.add_row(escape(str(value)), str(number))
        out.print(table)


def _chosen_format(
    format: options.Format | None, output: Path | None, *, json: bool, paths: bool = False
) -> options.Format | None:
    """Return the one format asked for; None where none was. Raises UsageError for several, and what does not go together."""
    if json + paths + (format is not None) > 1:
        raise UsageError("--json, --paths and --format each say how hits are written: give one of them")
    if json and output is not None:
        raise UsageError("--json prints on standard output: write to a file with --format jsonl -o FILE")
    if format in ("links", "copies") and output is None:
        raise UsageError(f"--format {format} needs -o FOLDER, the folder to fill")
    return format or ("paths" if paths or output is not None else None)


def _chosen_columns(columns: str | None, format: options.Format | None) -> tuple[str, ...]:
    """Return the columns asked for; none where all are. Raises UsageError for what cannot be used."""
    from t2c_search.export.separated import read_columns

    if columns is not None and format != "csv":
        raise UsageError("--columns chooses those of a CSV: give it with --format csv")
    return read_columns(columns)


def _write(
    hits: Iterable[Hit], expression: str, format: options.Format, output: Path | None, columns: tuple[str, ...]
) -> None:
    """Write hits to a file or folder, or else to standard output."""
    from t2c_search.export.files import begun, export_hits, writer

    if output is None:
        writer(format, columns)(begun(hits), expression, sys.stdout.buffer)
        return
    written = export_hits(hits, output, expression=expression, format=format, columns=columns)
    for failure in [failure.redacted() for failure in written.failures]:
        err.print(f"[yellow]not written[/] {escape(failure.path)}: {escape(failure.reason)}", soft_wrap=True)
    err.print(f"[dim]{written.count} images written to {escape(str(output))}[/]")


def _as_of(answer: SearchResult | Mined | Count) -> str:
    """Say of how many images the statistics are that set an answer's thresholds, where an indexer is at work."""
    return "" if answer.as_of is None else f", as of {answer.as_of} images"


def _show_hits(result: SearchResult) -> None:
    out.print(_hit_table(result) if result else "[dim]no image matches[/]")


def _show_plan(plan: Plan | None, console: Console) -> None:
    if plan is not None:
        console.print(escape(str(plan)), soft_wrap=True)


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
    """Lay out hits with rank, score, cosine and path, the first caption below it."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("#", "score", "cosine"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("image", overflow="fold")
    here = os.getcwd() + os.sep  # noqa: PTH109 - paths in payloads are strings
    for hit in result:
        image = escape(hit.path.removeprefix(here))
        if captions := hit.payload.get("captions"):
            image += f"\n[dim]{escape(captions[0])}[/]"
        table.add_row(str(hit.rank), f"{hit.score:.3f}", f"{hit.cosine:.3f}", image)
    return table
