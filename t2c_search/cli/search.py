"""``t2c search``, ``mine``, ``count`` and ``facets``: constraints to images."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import app
from t2c_search.cli.options import SETTINGS
from t2c_search.cli.render import err, out, print_json
from t2c_search.errors import UsageError

if TYPE_CHECKING:
    from t2c_search.types import SearchResult

Expression = Annotated[
    str, typer.Argument(help='A text, or constraints: \'"a dog" AND NOT "a person" AND width >= 1024\'.')
]


@app.command()
def search(
    query: Annotated[str | None, typer.Argument(help="A text, or constraints; left out with --image.")] = None,
    image: Annotated[str | None, typer.Option("--image", help="Search by this image, beside the text if any.")] = None,
    collection: options.CollectionName = SETTINGS.collection,
    store: options.StoreLocation = SETTINGS.store,
    limit: options.Limit = 10,
    where: options.Where = None,
    exact: Annotated[bool, typer.Option("--exact", help="Scan every vector instead of using the index.")] = False,
    diverse: Annotated[bool, typer.Option("--diverse", help="Prefer hits that differ from each other.")] = False,
    group_by: Annotated[
        str | None, typer.Option("--group-by", help="The best hit of each value of this field.")
    ] = None,
    explain_plan: Annotated[bool, typer.Option("--explain-plan", help="Show how the search was run.")] = False,
    paths: Annotated[bool, typer.Option("--paths", help="Print paths only, one a line, for pipes.")] = False,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="Draw the hits into this picture.")] = None,
    json: options.Json = False,
    clip: options.ClipId = None,
    backbone: options.BackboneId = None,
    text: options.TextId = None,
    device: options.DeviceName = SETTINGS.device,
    dtype: options.DtypeName = SETTINGS.dtype,
) -> None:
    """Find the images that match best.

    \b
    Examples:
      t2c search "a dog running through the snow" -n 8 --sheet dogs.png
      t2c search '"a dog" AND "on grass" AND NOT "a person" AND width >= 1024'
      t2c search --image cat.jpg --where 'camera = "X100"' --paths | xargs open
    """
    from t2c_search.collection import open_collection

    with open_collection(
        collection, store, clip=clip, backbone=backbone, text=text, device=device, dtype=dtype
    ) as images:
        result = images.search(
            query, image=image, limit=limit, where=where, exact=exact, diverse=diverse, group_by=group_by
        )
    if sheet is not None:
        from t2c_search.export.sheet import write_sheet

        write_sheet(result.hits, query or str(image), sheet)
    if json:
        print_json(_result_json(result))
    elif paths:
        sys.stdout.writelines(f"{hit.path}\n" for hit in result)
    else:
        _show_result(result, explain_plan)
        if sheet is not None:
            out.print(f"[dim]contact sheet: {escape(str(sheet))}[/]")


@app.command()
def mine(
    query: Expression,
    collection: options.CollectionName = SETTINGS.collection,
    store: options.StoreLocation = SETTINGS.store,
    where: options.Where = None,
    format: Annotated[
        Literal["paths", "jsonl", "csv", "parquet", "coco", "fiftyone", "links", "copies"],
        typer.Option("--format", help="What to write; links and copies fill the folder that -o names."),
    ] = "paths",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write here; standard output when left out.")
    ] = None,
    text: options.TextId = None,
    device: options.DeviceName = SETTINGS.device,
) -> None:
    """Write every image that satisfies the constraints, however many there are.

    A bare text holds for what stands out from the collection; say how far with a threshold: "a dog" >= 2sd, >= 0.27 (cosine),
    top 5%. The images come in no order of relevance, streamed in constant memory.

    \b
    Examples:
      t2c mine '"a dog" >= 1.5sd AND NOT "a person"' --format csv -o dogs.csv
      t2c mine '"a beach" AND width >= 1024' --format links -o beaches/
    """
    from t2c_search.collection import open_collection
    from t2c_search.export.files import FORMATS, write_file, write_folder

    with open_collection(collection, store, text=text, device=device) as images:
        hits = images.mine(query, where=where)
        if format in ("links", "copies"):
            if output is None:
                raise UsageError(f"--format {format} needs -o FOLDER, the folder to fill")
            written = write_folder(hits, query, output, copy=format == "copies")
        elif output is not None:
            written = write_file(hits, query, format, output)
        else:
            FORMATS[format](hits, query, sys.stdout.buffer)
            return
    err.print(f"[dim]{written} images written to {escape(str(output))}[/]")


@app.command()
def count(
    query: Expression,
    collection: options.CollectionName = SETTINGS.collection,
    store: options.StoreLocation = SETTINGS.store,
    where: options.Where = None,
    approx: Annotated[bool, typer.Option("--approx", help="Estimate from a sample, at once.")] = False,
    json: options.Json = False,
    text: options.TextId = None,
    device: options.DeviceName = SETTINGS.device,
) -> None:
    """Count the images that satisfy the constraints.

    \b
    Examples:
      t2c count '"a dog" AND NOT "a person"'
      t2c count '"a dog" top 5%' --approx
    """
    from t2c_search.collection import open_collection

    with open_collection(collection, store, text=text, device=device) as images:
        counted = images.count(query, where=where, approx=approx)
    if json:
        print_json(asdict(counted))
    elif counted.exact:
        out.print(f"[bold]{counted.count}[/] images")
    else:
        out.print(f"about [bold]{counted.count}[/] images (95 % interval: {counted.low} to {counted.high})")


@app.command()
def facets(
    field: Annotated[str, typer.Argument(help="Payload field whose values to count, e.g. camera.")],
    query: Annotated[str | None, typer.Argument(help="Only among the images that satisfy this.")] = None,
    collection: options.CollectionName = SETTINGS.collection,
    store: options.StoreLocation = SETTINGS.store,
    where: options.Where = None,
    limit: options.Limit = 20,
    json: options.Json = False,
    text: options.TextId = None,
    device: options.DeviceName = SETTINGS.device,
) -> None:
    """Count the values of a payload field, among all images or those that satisfy constraints.

    \b
    Example:
      t2c facets camera '"a portrait"'
    """
    from t2c_search.collection import open_collection

    with open_collection(collection, store, text=text, device=device) as images:
        values = images.facets(field, query, where=where, limit=limit)
    if json:
        print_json({"field": field, "values": [{"value": value, "count": number} for value, number in values]})
    else:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for value, number in values:
            table.add_row(escape(str(value)), str(number))
        out.print(table)


def _result_json(result: SearchResult) -> dict[str, Any]:
    certificate = asdict(result.certificate)
    if isinf(result.certificate.gap):  # JSON has no infinity
        certificate["gap"] = None
    return {
        "hits": [asdict(hit) for hit in result],
        "count": len(result),
        "certificate": certificate,
        "plan": result.plan and asdict(result.plan),
        "seconds": round(result.seconds, 4),
    }


def _show_result(result: SearchResult, explain_plan: bool) -> None:
    out.print(_hit_table(result) if result else "[dim]no image matches[/]")
    if explain_plan and result.plan:
        out.print(escape(str(result.plan)))
    certainty = {
        "exact": "certified exact",
        "ann": "certified up to the index's recall",
        "none": f"not certified: an unseen image may score up to {result.certificate.gap:.2g} more than the last",
    }[result.certificate.kind]
    out.print(f"[dim]{len(result)} hits in {result.seconds:.2f} s, {certainty}[/]")


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
