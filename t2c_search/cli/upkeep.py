"""``t2c realign`` and ``t2c duplicates``: what a collection needs once it is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import COLLECTIONS, app
from t2c_search.cli.look import show_sheet
from t2c_search.cli.render import ShownPath, err, out, print_json, progress_bar, waiting
from t2c_search.query.execution.duplicates import NEAR, Group

_SHOWN_GROUPS = 20


@app.command(rich_help_panel=COLLECTIONS)
def realign(
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    aligner: Annotated[Path | None, typer.Option("--aligner", help="Use this aligner, made by t2c fit.")] = None,
    fit_images: Annotated[
        list[Path] | None, typer.Option("--fit-images", help="Fit an aligner on these images; may be given again.")
    ] = None,
    fit_pairs: options.FitPairs = None,
    clip: options.ClipId = None,
    text: options.TextId = None,
    device: options.DeviceName = None,
    dtype: options.DtypeName = None,
    json: options.Json = False,
) -> None:
    """Carry a collection into another CLIP model's space, or fit it better to its own, without reading its images.

    It must have been indexed with --native. Searches see the former vectors until the new ones are complete; stopped
    half way, nothing has changed.

    \b
    Examples:
      t2c realign -c photos --aligner better.safetensors
      t2c realign -c photos --clip open_clip:ViT-L-14/laion2b_s32b_b82k --fit-images ~/Pictures
    """
    from t2c_search.collection import open_collection

    with (
        open_collection(collection, store, clip=clip, text=text, device=device, dtype=dtype) as images,
        progress_bar() as progress,
    ):
        report = images.realign(aligner, fit_images=fit_images or (), fit_pairs=fit_pairs, progress=progress)
    if json:
        print_json({"collection": images.name, **report.to_json()})
        return
    out.print(f"[bold]{report.images}[/] images realigned to {out.shown(report.clip)} in {report.seconds:.1f} s")
    if report.dropped_concepts:
        names = ", ".join(f"@{name}" for name in report.dropped_concepts)
        err.print(
            f"[yellow]note[/] these concepts were learnt in the former CLIP space; add them again: {err.shown(names)}",
            soft_wrap=True,
        )
    if report.dropped_bottlenecks:
        names = ", ".join(report.dropped_bottlenecks)
        err.print(
            f"[yellow]note[/] these bottlenecks weighed the former vectors; fit them again: {err.shown(names)}",
            soft_wrap=True,
        )


@app.command(rich_help_panel=COLLECTIONS)
def duplicates(
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    near: Annotated[
        float, typer.Option("--near", min=0.5, max=1.0, help="Cosine from which two images count as one.")
    ] = NEAR,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write what to keep and what to drop here: .csv or .jsonl.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="Show the groups on this page: .html.")] = None,
    open: options.Open = False,
    json: options.Json = False,
) -> None:
    """Find images that are there several times: the same file, or resized and saved again.

    Nothing is deleted. Of each group the image of most pixels, then most bytes, is the one to keep.

    \b
    Examples:
      t2c duplicates -c photos
      t2c duplicates -c photos --near 0.995 --export duplicates.csv
      t2c duplicates -c photos --open
    """
    from t2c_search.collection import open_collection
    from t2c_search.export.duplicates import write_duplicates, write_duplicates_page

    with open_collection(collection, store, wait=waiting(wait)) as images:
        groups = images.duplicates(near)
    if export is not None:
        write_duplicates(groups, export)
    show_sheet(lambda path: write_duplicates_page(groups, f"Duplicates in {images.name}", path), sheet, open=open)
    if json:
        print_json({"collection": images.name, **groups.to_json()})
        return
    if groups:
        out.print(_group_table(groups[:_SHOWN_GROUPS]))
    if len(groups) > _SHOWN_GROUPS:
        out.print(f"[dim]... and {len(groups) - _SHOWN_GROUPS} more groups; --export or --json has all[/]")
    drop = sum(not duplicate.keep for group in groups for duplicate in group)
    out.print(f"[bold]{len(groups)}[/] groups; {drop} images could go")


def _group_table(groups: Sequence[Group]) -> Table:
    """Lay out groups, each from its best image to its worst, with what stands for what."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "pixels", "bytes", "cosine"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("image")
    for group in groups:
        for at, each in enumerate(group):
            mark = "[green]keep[/]" if each.keep else "same" if each.same_bytes else "near"
            cosine = "" if each.keep else f"{each.cosine:.4f}"
            size = f"{each.width} x {each.height}"
            table.add_row(
                mark, size, str(each.bytes), cosine, ShownPath(each.path, each.path), end_section=at == len(group) - 1
            )
    return table
