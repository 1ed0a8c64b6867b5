"""``t2c info``, ``t2c models``, ``t2c settings`` and ``t2c doctor``: what is here, what there is, and what is wrong."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from t2c_search.cli import options
from t2c_search.cli.app import COLLECTIONS, MACHINE, app
from t2c_search.cli.render import err, key_value_table, out, print_json, waiting
from t2c_search.errors import UsageError
from t2c_search.settings import EffectiveSetting

settings = typer.Typer(invoke_without_command=True)
app.add_typer(settings, name="settings", rich_help_panel=MACHINE)

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[red]problem[/]"}


@app.command(rich_help_panel=COLLECTIONS)
def info(
    collection: options.CollectionName = None,
    store: options.StoreLocation = None,
    wait: options.WaitSeconds = None,
    json: options.Json = False,
) -> None:
    """Describe a collection: its models, its images, how good its alignment is, what failed.

    \b
    Example:
      t2c info -c photos --store ./photos.t2c
    """
    from t2c_search.collection import open_collection

    with open_collection(collection, store, wait=waiting(wait)) as images:
        summary, fit = images.summary(), images.fit_report
    if json:
        print_json(summary)
        return
    failures = summary.pop("failures")
    aligner = summary.pop("aligner")
    summary["physical_names"] = ", ".join(summary["physical_names"])
    out.print(key_value_table(summary))
    if fit is not None:
        out.print(f"\n[bold]alignment[/], on held-out images: {fit.verdict}", soft_wrap=True)
        out.print(key_value_table({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in aligner.items()}))
    for failure in failures:
        out.print(f"[red]failed[/] {out.shown(failure['path'])}: {out.shown(failure['reason'])}", soft_wrap=True)


@app.command(rich_help_panel=MACHINE)
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
        out.print(f"\n[bold]{out.shown(kind.usage)}[/]  {out.shown(kind.summary)}", soft_wrap=True)
        for choice in kind.choices:
            size = f"{choice.dim}-d, {choice.parameters_m:g} M parameters"
            places = choice.places or ""
            out.print(
                f"  {out.shown(choice.id):<46} {size:<28} {places:<9} [dim]{out.shown(choice.note)}[/]", soft_wrap=True
            )
    out.print("\nexact, analytic or banzhaf: how t2c explain finds the places that made a vector", soft_wrap=True)


@settings.callback()
def list_settings(ctx: typer.Context, json: options.Json = False) -> None:
    """List the defaults of options as they are here, and where each comes from.

    A variable T2C_NAME goes before a key of ./t2c.toml, and an option before both. Secrets are not shown. A file that is not
    trusted (t2c settings trust) may set what does no harm only.

    \b
    Example:
      t2c settings
      T2C_STORE=http://localhost:6333 t2c settings get store
    """
    from t2c_search.settings import effective_settings
    from t2c_search.settings_file import read_settings_file

    if ctx.invoked_subcommand is not None:
        return
    found, file = effective_settings(), read_settings_file()
    if json:
        used = file and {"path": str(file.path), "trusted": file.is_trusted}
        print_json({"file": used, "settings": [asdict(setting) for setting in found]})
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(style="bold", overflow="fold")
    table.add_column(style="dim", overflow="fold")
    for setting in found:
        table.add_row(setting.name, out.shown(_value(setting)), out.shown(setting.origin))
    out.print(table)
    if file is not None:
        state = "trusted" if file.is_trusted else "not trusted; if you want what it sets: t2c settings trust ."
        out.print(f"[dim]{out.shown(file.path)} is {state}[/]", soft_wrap=True)


@settings.command()
def get(name: Annotated[str, typer.Argument(help="A setting's name, as t2c settings lists it.")]) -> None:
    """Print one setting's value, for scripts; nothing where it has none.

    \b
    Example:
      t2c settings get store
    """
    from t2c_search.settings import effective_settings

    found = {setting.name: setting for setting in effective_settings()}
    if name not in found:
        raise UsageError(f"{name!r} is no setting; there are: {', '.join(found)}")
    out.print(_value(found[name]), markup=False, soft_wrap=True)


@settings.command()
def trust(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder whose t2c.toml you have looked at.")],
) -> None:
    """Trust the t2c.toml of a folder, as it is now: it may name servers, and models whose code is run.

    A file that is changed, or moved, must be trusted anew.

    \b
    Example:
      t2c settings trust .
    """
    from t2c_search.settings_file import NAME, read_settings_file

    if (file := read_settings_file(folder)) is None:
        raise UsageError(f"there is no {NAME} in {folder}")
    file.trust()
    err.print(f"trusted as it is now: {err.shown(file.path)}", style="dim", soft_wrap=True)


def _value(setting: EffectiveSetting) -> str:
    """Write a value as ``t2c.toml`` would have it, without quotes."""
    if isinstance(setting.value, bool):
        return str(setting.value).lower()
    return "" if setting.value is None else str(setting.value)


@app.command(rich_help_panel=MACHINE)
def doctor(store: options.StoreLocation = None, json: options.Json = False) -> None:
    """Say what is wrong with this machine, and what to do. Exit status 1 when something is.

    \b
    Example:
      t2c doctor --store ./photos.t2c
    """
    from t2c_search.cli.doctor import examine

    findings = list(examine(store))
    if json:
        print_json({"findings": findings})
    else:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for finding in findings:
            advice = f"\n[dim]{out.shown(finding.remedy)}[/]" if finding.remedy else ""
            table.add_row(_MARKS[finding.state], finding.subject, out.shown(finding.message) + advice)
        out.print(table)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)
