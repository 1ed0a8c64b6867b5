"""The application that the commands hang on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from t2c_search.cli.render import err, harmless
from t2c_search.ending import in_order
from t2c_search.errors import brief
from t2c_search.settings import unknown_variables

INDEXING, SEARCHING, COLLECTIONS, MACHINE = "Indexing", "Searching", "Collections", "This machine"
READING, EXPLAINING = "Reading in words", "Why this image"
"""Under which heading help lists a command."""
HEADINGS = (INDEXING, SEARCHING, EXPLAINING, READING, COLLECTIONS, MACHINE)


class _Commands(TyperGroup):
    """Commands, heading by heading, which end in order whatever ends them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """List the commands as help shows them."""
        commands: Mapping[str, Any] = self.commands
        return sorted(commands, key=lambda name: HEADINGS.index(commands[name].rich_help_panel))

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the command line, where help is printed."""
        with in_order(), _harmless_mistakes():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with in_order(), _harmless_mistakes():
            return super().invoke(ctx)


@contextmanager
def _harmless_mistakes() -> Iterator[None]:
    """Let typer's own complaints repeat what was typed harmlessly, and no more of it than is read."""
    try:
        yield
    except Exception as exc:  # their class is typer's secret
        if isinstance(message := getattr(exc, "message", None), str):
            exc.message = harmless(brief(message, 500))  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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

    Where help says "setting store", the default can stand in the variable T2C_STORE or as store = "..." in ./t2c.toml;
    t2c settings lists them all.
    """
    for remark in unknown_variables():
        err.print(f"[yellow]note[/] {err.shown(remark)}", soft_wrap=True)
