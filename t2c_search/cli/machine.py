"""``t2c info``, ``t2c models`` and ``t2c doctor``: what is here, what there is, and what is wrong."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import app
from t2c_search.cli.options import SETTINGS
from t2c_search.cli.render import key_value_table, out, print_json

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[red]problem[/]"}


@app.command()
def info(
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Collection to describe; left out: list the collections.")
    ] = None,
    store: options.StoreLocation = SETTINGS.store,
    json: options.Json = False,
) -> None:
    """Describe a collection: its models, its images, how good its alignment is, what failed.

    \b
    Example:
      t2c info -c photos --store ./photos.t2c
    """
    from t2c_search.collection import open_collection
    from t2c_search.stores import list_collections

    if collection is None:
        names = list_collections(store, api_key=SETTINGS.api_key)
        if json:
            print_json({"store": store, "collections": names})
        else:
            out.print("\n".join(names) or f"no collection in {store} yet; make one with: t2c index FOLDER")
        return
    with open_collection(collection, store) as images:
        summary = images.summary()
    if json:
        print_json(summary)
        return
    failures = summary.pop("failures")
    aligner = summary.pop("aligner")
    out.print(key_value_table(summary))
    if aligner:
        out.print("\n[bold]alignment[/], on held-out images")
        out.print(key_value_table({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in aligner.items()}))
    for failure in failures:
        out.print(f"[red]failed[/] {escape(failure['path'])}: {escape(failure['reason'])}", soft_wrap=True)


@app.command()
def models(json: options.Json = False) -> None:
    """List the kinds of models there are, and good choices of each.

    \b
    Example:
      t2c models
    """
    from t2c_search.encoders import registry

    kinds = registry.describe()
    if json:
        print_json({"kinds": kinds})
        return
    for kind in kinds:
        out.print(f"\n[bold]{escape(kind.usage)}[/]  {escape(kind.summary)}", soft_wrap=True)
        for choice in kind.choices:
            size = f"{choice.dim}-d, {choice.parameters_m:g} M parameters"
            out.print(f"  {escape(choice.id):<46} {size:<28} [dim]{escape(choice.note)}[/]", soft_wrap=True)


@app.command()
def doctor(store: options.StoreLocation = SETTINGS.store, json: options.Json = False) -> None:
    """Say what is wrong with this machine, and what to do. Exit status 1 when something is.

    \b
    Example:
      t2c doctor --store ./photos.t2c
    """
    from t2c_search.doctor import examine

    findings = list(examine(store))
    if json:
        print_json({"findings": findings})
    else:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for finding in findings:
            advice = f"\n[dim]{escape(finding.remedy)}[/]" if finding.remedy else ""
            table.add_row(_MARKS[finding.state], finding.subject, escape(finding.message) + advice)
        out.print(table)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)
