"""``t2c audit``: what people who clean data sets look for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import READING, app
from t2c_search.cli.look import show_sheet
from t2c_search.cli.render import ShownPath, err, loading, out, print_json, waiting

if TYPE_CHECKING:
    from t2c_search.concepts.audit.findings import Audit, Finding


@app.command(rich_help_panel=READING)
def audit(
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    field: Annotated[
        str | None, typer.Option("--field", help="Audit this field's values too, such as a label or a split.")
    ] = None,
    where: options.Where = None,
    look: Annotated[
        bool, typer.Option("--look", help="Open images that were indexed without figures of how they look, once.")
    ] = False,
    write: Annotated[
        str | None, typer.Option("--write", help="Write the kinds found to the field derived.NAME, to filter by.")
    ] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="How many of each kind to print.")] = 5,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write all to this .csv or .json, or pictures to an .html.")
    ] = None,
    open: options.Open = False,
    device: options.DeviceName = None,
    json: options.Json = False,
) -> None:
    """Find what to clean: wrong captions and labels, leaks, outliers, and dark, blurred, empty or odd-sized pictures.

    Only what the numbers speak against is told, the worst first. No image is opened, unless --look says so; nothing is
    changed, unless --write does.

    \b
    Examples:
      t2c audit -c photos -o audit.html
      t2c audit -c photos --field label --open
      t2c audit -c photos --field split --write audit && t2c search -c photos --where 'derived.audit = "leak"'
    """
    from t2c_search.collection import open_collection
    from t2c_search.export.reading.audit import check_audit_file, write_audit

    if output is not None:
        check_audit_file(output)
    with open_collection(collection, store, device=device, wait=waiting(wait)) as images, loading():
        found = images.audit(field, where=where, look=look, write=write)
        name = images.name
    title = f"Audit of {name}" + (f" by {field}" if field else "")
    show_sheet(lambda path: write_audit(found, title, path), output, open=open)
    if json:
        print_json({"collection": name, **found.to_json()})
        return
    _print(found, limit)
    if write is not None:
        out.print(f"written to the field [bold]derived.{out.shown(write)}[/]")


def _print(found: Audit, limit: int) -> None:
    from t2c_search.concepts.audit.findings import KINDS

    out.print(f"[bold]{found.images}[/] images, [bold]{len(found.findings)}[/] findings")
    for kind, several in groupby(found.findings, key=lambda each: each.kind):
        findings = list(several)
        more = f", the worst {limit}" if len(findings) > limit else ""
        out.print(f"\n[bold]{KINDS[kind]}[/] [dim]({kind}): {len(findings)}{more}[/]")
        out.print(_table(findings[:limit]))
    for note in found.notes:
        err.print(f"[yellow]note[/] {err.shown(note)}", soft_wrap=True)


def _table(findings: Sequence[Finding]) -> Table:
    from t2c_search.export.reading.audit import tell

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_header=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold", max_width=70)
    table.add_column("image")
    if any(finding.other for finding in findings):
        table.add_column("beside")
    for finding in findings:
        row: list[str | ShownPath] = [
            f"{finding.score:.3f}",
            out.shown(tell(finding)),
            ShownPath(finding.path, finding.path),
        ]
        table.add_row(*row, *([ShownPath(finding.other, finding.other)] if finding.other else []))
    return table
