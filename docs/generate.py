"""Write ``docs/reference.md`` and ``docs/commands.md`` from the docstrings and the commands' own help.

    python docs/generate.py

A test fails while they are not what the code says.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from typer.models import ArgumentInfo, OptionInfo

import t2c_search
from t2c_search.cli import app
from t2c_search.cli.app import HEADINGS

DOCS = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py: change the docstrings, then run it. -->\n\n"
WIDTH = 100  # beyond which a signature takes a line for each parameter
MODULES = {"constraints": "Constraints", "filters": "Filters"}


def reference() -> str:
    """Return the page of the Python names: functions, classes, the modules of constraints and filters, and errors."""
    public = {name: getattr(t2c_search, name) for name in t2c_search.__all__}
    errors = {name: each for name, each in public.items() if isinstance(each, type) and issubclass(each, Exception)}
    plain = {name: each for name, each in public.items() if name not in errors and not inspect.ismodule(each)}
    functions = {name: each for name, each in plain.items() if not isinstance(each, type)}
    lines = [
        "# Python reference\n",
        NOTE + "The same as the [commands](commands.md), from a program: `import t2c_search as t2c`.\n",
        "## Functions\n",
        *(_entry(name, each) for name, each in functions.items()),
        "## Collection\n",
        _sections("Collection", plain["Collection"]),
        "## Results and other values\n",
        *(_class(name, each) for name, each in plain.items() if name not in functions and name != "Collection"),
    ]
    for name, title in MODULES.items():
        module = public[name]
        lines += [f"## {title}: `t2c.{name}`\n", _prose(module.__doc__)]
        lines += [_class(f"{name}.{member}", each) for member, each in _exported(module).items()]
    lines += ["## Errors\n", _prose(public["errors"].__doc__)]
    lines += [_class(name, each) for name, each in errors.items()]
    return "\n".join(lines).rstrip() + "\n"


def commands() -> str:
    """Return the page of the commands: what each does, and its arguments and options."""
    assert app.registered_callback is not None
    lines = ["# Commands\n", NOTE + _help(app.registered_callback.callback)]
    for words, function in _commands(app, ["t2c"]):
        parameters = _parameters(function)
        usage = [*words, *(each.names[0] for each in parameters if not each.is_option), "[OPTIONS]"]
        lines += [f"## {' '.join(words)}\n", f"```\n{' '.join(usage)}\n```\n", _help(function)]
        lines += ["| | | |", "|---|---|---|", *(each.row() for each in parameters), ""]
    return "\n".join(lines).rstrip() + "\n"


def documents() -> dict[Path, str]:
    """Return the generated pages by their paths."""
    return {DOCS / "reference.md": reference(), DOCS / "commands.md": commands()}


def _exported(module: Any) -> dict[str, type]:
    """Return the public classes that a module defines or names in ``__all__``, in its order."""
    names = getattr(module, "__all__", None) or [
        name for name, each in vars(module).items() if getattr(each, "__module__", "") == module.__name__
    ]
    found = {name: getattr(module, name) for name in names if not name.startswith("_")}
    return {name: each for name, each in found.items() if isinstance(each, type)}


def _entry(name: str, function: Any, level: int = 3) -> str:
    return f"{'#' * level} {name}\n\n```python\n{_signature(name, function)}\n```\n\n{_prose(function.__doc__)}"


def _class(name: str, each: type) -> str:
    """Describe a class in short: its fields and members, a line each."""
    bases = [base.__name__ for base in each.__bases__ if base.__module__.startswith("t2c_search.errors")]
    kind = f" ({', '.join(bases)})" if bases else ""
    lines = [f"- `{field}: {annotation}`" for field, annotation in _fields(each).items()]
    members = {} if issubclass(each, BaseModel) else _members(each)  # a tree is its fields
    for member_name, member in members.items():
        lines.append(f"- `{' '.join(_head(member_name, member).split())}`: {_summary(member.__doc__)}")
    return f"### {name}{kind}\n\n{_prose(each.__doc__)}" + "".join(f"{line}\n" for line in ["", *lines] if lines)


def _fields(each: type) -> dict[str, str]:
    if dataclasses.is_dataclass(each):
        return {field.name: str(field.type) for field in dataclasses.fields(each)}
    if issubclass(each, BaseModel):
        return {name: _annotation(each, name) for name in each.model_fields}
    return {}


def _annotation(each: type, name: str) -> str:
    """Return a field's annotation as it is written."""
    return next(
        str(base.__annotations__[name]) for base in each.__mro__ if name in getattr(base, "__annotations__", {})
    )


def _members(each: type) -> dict[str, Any]:
    """Return a class's own public methods and properties, in its order."""
    parts = each.__mro__ if each is t2c_search.Collection else (each,)
    members = {
        name: _plain(member) for part in parts for name, member in vars(part).items() if not name.startswith("_")
    }
    fields = _fields(each)
    return {
        name: member
        for name, member in members.items()
        if name not in fields and (inspect.isfunction(member) or isinstance(member, property))
    }


def _sections(name: str, each: type) -> str:
    """Describe a class at length: a section for each of its members."""
    found = [_prose(each.__doc__)]
    for member_name, member in _members(each).items():
        head = _head(member_name, member)
        found.append(f"### {name}.{member_name}\n\n```python\n{head}\n```\n\n{_prose(member.__doc__)}")
    return "\n".join(found)


def _head(name: str, member: Any) -> str:
    if not isinstance(member, property):
        return _signature(name, member)
    return f"{name}: {_Raw(inspect.signature(member.fget).return_annotation)!r}"  # type: ignore[arg-type]


def _plain(member: Any) -> Any:
    return member.__func__ if isinstance(member, classmethod | staticmethod) else member


def _signature(name: str, function: Any) -> str:
    """Write a signature with its annotations as they are in the code, without ``self``."""
    signature = inspect.signature(function)
    parameters = [_as_written(each) for each in signature.parameters.values() if each.name not in ("self", "cls")]
    returned = _Raw(signature.return_annotation)
    text = f"{name}{signature.replace(parameters=parameters, return_annotation=returned)}"
    if len(text) <= WIDTH:
        return text
    lines = [str(each) for each in parameters]
    keywords = [at for at, each in enumerate(parameters) if each.kind is each.KEYWORD_ONLY]
    if keywords:
        lines.insert(keywords[0], "*")
    return "\n".join([f"{name}(", *(f"    {line}," for line in lines), f") -> {returned!r}"])


class _Raw:
    """An annotation that is shown without quotes."""

    def __init__(self, annotation: Any) -> None:
        self._text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)

    def __repr__(self) -> str:
        return self._text


def _as_written(parameter: inspect.Parameter) -> inspect.Parameter:
    if parameter.annotation is parameter.empty:
        return parameter
    return parameter.replace(annotation=_Raw(parameter.annotation))


def _prose(docstring: str | None) -> str:
    """Turn a docstring into Markdown: code in single backquotes, indented parts as blocks."""
    text = inspect.cleandoc(docstring or "")
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    parts = [
        f"```\n{inspect.cleandoc(part)}\n```" if part.startswith("    ") else part for part in re.split(r"\n\n+", text)
    ]
    return "\n\n".join(parts) + "\n"


def _summary(docstring: str | None) -> str:
    return " ".join(_prose(docstring).split("\n\n")[0].split())


def _commands(instance: typer.Typer, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    """Yield commands in the order of help, a group that does something itself before its own."""
    headed = [
        *(
            (each.rich_help_panel, each.name or each.callback.__name__, each.callback)
            for each in instance.registered_commands
        ),
        *((each.rich_help_panel, each.name, each.typer_instance) for each in instance.registered_groups),
    ]
    for _, name, each in sorted(headed, key=lambda entry: HEADINGS.index(entry[0]) if len(words) == 1 else 0):
        if not isinstance(each, typer.Typer):
            yield [*words, name], each
            continue
        if each.registered_callback is not None:
            yield [*words, name], each.registered_callback.callback
        yield from _commands(each, [*words, name])


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """An argument or an option of a command: what it is called, what values it takes, and what it is for."""

    names: tuple[str, ...]
    values: str
    about: str
    is_option: bool

    def row(self) -> str:
        """Write it as a row of a table."""
        names = ", ".join(f"`{name}`" for name in self.names)
        return f"| {names} | {self.values} | {' '.join(self.about.split()).replace('|', '&#124;')} |"


def _parameters(function: Any) -> list[Parameter]:
    """Read a command's parameters off its signature, arguments first."""
    hints, found = typing.get_type_hints(function, include_extras=True), []
    for name, parameter in inspect.signature(function).parameters.items():
        annotation, *told = typing.get_args(hints[name]) or (None,)
        if not told or not isinstance(info := told[0], OptionInfo | ArgumentInfo):
            continue
        kind = annotation
        if typing.get_origin(annotation) in (typing.Union, types.UnionType):
            kind = typing.get_args(annotation)[0]  # beside None
        about = f"{info.help}{_default(info, parameter.default)}"
        if isinstance(info, OptionInfo):
            names = tuple(each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str))
            found.append(Parameter(names, _values(kind), about, is_option=True))
        else:
            shown = (info.metavar or name).upper() + ("..." if typing.get_origin(kind) is list else "")
            shown = shown if parameter.default is parameter.empty else f"[{shown}]"
            found.append(Parameter((shown,), "", about, is_option=False))
    return sorted(found, key=lambda each: each.is_option)


def _values(kind: Any) -> str:
    """Say what values an option takes; nothing for a flag."""
    if typing.get_origin(kind) is list:
        return f"{_values(typing.get_args(kind)[0])}, several"
    if typing.get_origin(kind) is typing.Literal:
        return " ".join(f"`{choice}`" for choice in typing.get_args(kind))
    return {str: "text", Path: "path", int: "whole number", float: "number", bool: ""}[kind]


def _default(info: Any, default: Any) -> str:
    if isinstance(info.show_default, str):
        return f" Default: {info.show_default}."
    return "" if default in (None, False, inspect.Parameter.empty) else f" Default: {default}."


def _help(function: Any) -> str:
    """Turn a command's help into Markdown: examples become blocks of shell commands."""
    parts = []
    for part in re.split(r"\n\n+", inspect.cleandoc(function.__doc__)):
        head, _, rest = part.partition("\n")
        if head != "\b":
            parts.append(part)
            continue
        title, _, lines = rest.partition("\n")
        block = f"```\n{textwrap.dedent(rest)}\n```" if title.startswith(" ") else ""
        parts.append(block or f"{title}\n\n```sh\n{textwrap.dedent(lines)}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text)
