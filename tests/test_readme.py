"""The documents are true: every command in them parses, every expression reads, every link leads somewhere."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer

import t2c_search
from t2c_search.cli import app
from t2c_search.query.language.syntax import parse

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = DOCUMENTS[0].read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    found = []
    for document in DOCUMENTS:
        for block in blocks(document.read_text(), "sh"):
            for line in block.splitlines():
                parts = re.split(r" && |(?<=\S) \| ", line)
                found += [part.strip() for part in parts if re.match(r"\s*(\.venv/bin/)?t2c ", part)]
    return found


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command: str) -> None:
    _, *arguments = shlex.split(command, comments=True)
    group = typer.main.get_command(app)
    while arguments and arguments[0] in getattr(group, "commands", {}):
        group = group.commands[arguments.pop(0)]
    group.make_context("t2c", arguments)  # parses, and runs nothing


def test_readme_python_uses_the_public_names() -> None:
    [code] = blocks(README, "python")
    used = {
        node.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "t2c"
    }
    assert used <= set(t2c_search.__all__)


def test_expressions_of_the_query_page_read() -> None:
    text = (ROOT / "docs" / "query.md").read_text()
    lines = [line for line in blocks(text, "")[0].splitlines() if line]
    assert len(lines) == 4
    for expression in [*lines, *re.findall(r"^\| `([^|]*?)` \| ", text.split("## Thresholds")[0], re.MULTILINE)]:
        parse(expression)


def test_ci_runs_what_the_readme_says() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert '.venv/bin/pip install -e ".[dev]" && .venv/bin/pytest -n 2' in README
    assert 'pip" install --quiet -e ".[dev]"' in script
    assert re.search(r"^pytest -n 2$", script, re.MULTILINE)


def test_the_reference_is_what_docstrings_and_help_say() -> None:
    written = runpy.run_path(str(ROOT / "docs" / "generate.py"))["documents"]()
    assert {path.name for path in written} == {"commands.md", "reference.md"}
    for path, text in written.items():
        assert path.read_text() == text, f"{path.name} is out of date: run python docs/generate.py"


def test_the_picture_of_the_house_names_files_that_there_are() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text().split("## What a collection is")[0]
    house, room = ROOT / "t2c_search", ""
    named = 0
    for line in text.splitlines():
        if found := re.match(r"\| `([a-z/]+)` \|", line):
            room = found[1]
            assert (house / room).is_dir(), room
        elif not line.startswith("|"):
            room = ""
        for path in re.findall(r"`([a-z_/]+(?:\.py|/))`", line):
            assert (house / room / path).exists() or (house / path).exists(), f"{room}{path}"
            named += 1
    assert named > 50
    rooms = {path.parent.name for path in house.glob("*/__init__.py")}
    assert {re.sub(r"/.*", "", found) for found in re.findall(r"^\| `([a-z/]+)` \|", text, re.MULTILINE)} == rooms


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        text = re.sub(r"`[^`]*`", "", document.read_text())
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"
