"""The application that the commands hang on."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("t2c-search"))
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Search images by what they show, in words: with any vision model, any number of images, and filters.

    \b
      t2c index ~/Pictures          index a folder, once
      t2c search "a dog on a beach" search it, ever after

    Every option is also an environment variable (T2C_STORE for --store) and a key of ./t2c.toml.
    """
