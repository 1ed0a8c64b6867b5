"""Defaults: where they come from, in which order, and what is said of those that cannot be used."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import typer

from t2c_search.cli import app
from t2c_search.cli.doctor import examine
from t2c_search.errors import UsageError
from t2c_search.settings import Settings, load_settings
from tests.stubs.rest import QdrantStub


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, without settings so far."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("T2C_")]:
        monkeypatch.delenv(name)
    return tmp_path


def test_a_variable_goes_before_the_file_and_the_file_before_what_is_built_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().collection == "images"
    (folder / "t2c.toml").write_text('collection = "photos"\nworkers = 3\n')
    monkeypatch.setenv("T2C_COLLECTION", "others")
    assert (load_settings().collection, load_settings().workers) == ("others", 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("limit = 3", "t2c.toml sets 'limit', which is no setting; there are: collection, store, clip"),
        (
            "workers = 0",
            "setting 'workers' .variable T2C_WORKERS or key workers of t2c.toml. cannot be used: .*, got 0",
        ),
        ("workers: 3", "t2c.toml cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named(folder: Path, content: str, said: str) -> None:
    (folder / "t2c.toml").write_text(content)
    with pytest.raises(UsageError, match=said):
        load_settings()


def test_the_key_of_a_server_in_the_file_serves_every_command(folder: Path) -> None:
    with QdrantStub(api_key="sesame") as stub:
        (folder / "t2c.toml").write_text(f'qdrant_api_key = "sesame"\nstore = "{stub.url}"\n')
        run("settings", "trust", ".")
        listed = subprocess.run(
            [sys.executable, "-m", "t2c_search", "collections", "--json"], capture_output=True, text=True, check=True
        )
        assert json.loads(listed.stdout) == {"store": stub.url, "collections": []}
        (store,) = [finding for finding in examine(stub.url) if finding.subject == "store"]
        assert store.state == "ok"


def test_a_file_in_place_of_the_stores_folder_is_a_problem(folder: Path) -> None:
    (folder / "photos.t2c").touch()
    (disk,) = [finding for finding in examine(str(folder / "photos.t2c")) if finding.subject == "disk"]
    assert (disk.state, disk.message) == ("problem", f"{folder / 'photos.t2c'} is a file")


EVERY_HELP = """
import sys
import typer
from t2c_search.cli import app

def helps(command, words):
    yield [*words, "--help"]
    for name, below in getattr(command, "commands", {}).items():
        yield from helps(below, [*words, name])

command = typer.main.get_command(app)
for words in helps(command, []):
    command.main(words, standalone_mode=False)
assert not {"torch", "qdrant_client", "qdrant_edge"} & sys.modules.keys()
"""


def test_help_reads_no_settings_and_loads_no_model_library(folder: Path) -> None:
    (folder / "t2c.toml").write_text("workers: 3")
    shown = subprocess.run([sys.executable, "-c", EVERY_HELP], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "setting collection" in shown.stdout


def test_doctor_tells_settings_that_cannot_be_used_and_looks_at_the_rest(folder: Path) -> None:
    (folder / "t2c.toml").write_text("workers: 3")
    command = [sys.executable, "-m", "t2c_search", "doctor", "--json", "--store", "photos.t2c"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    findings = {finding["subject"]: finding for finding in json.loads(told.stdout)["findings"]}
    assert findings["settings"]["state"] == "problem"
    assert "t2c.toml cannot be read" in findings["settings"]["message"]
    assert findings["settings"]["remedy"]
    assert findings["store"]["state"] == "ok"
    assert "store" not in {finding.subject for finding in examine()}  # which one, the settings cannot say


def test_settings_tell_their_values_and_where_they_come_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "t2c.toml").write_text('collection = "photos"\nworkers = 3\n')
    monkeypatch.setenv("T2C_COLLECTION", "others")
    monkeypatch.setenv("T2C_QDRANT_API_KEY", "sesame")
    listed = run("settings", "--json")
    told = {setting["name"]: (setting["value"], setting["origin"]) for setting in json.loads(listed)["settings"]}
    assert told.keys() == Settings.model_fields.keys()
    assert told["collection"] == ("others", "variable T2C_COLLECTION")
    assert told["workers"] == (3, f"key workers of {folder / 't2c.toml'}")
    assert told["device"] == ("auto", "default")
    assert told["qdrant_api_key"] == ("**********", "variable T2C_QDRANT_API_KEY")
    assert "sesame" not in listed + run("settings") + run("settings", "get", "qdrant_api_key")
    assert run("settings", "get", "workers") == "3\n"


def test_a_setting_that_there_is_not_is_named(folder: Path) -> None:
    with pytest.raises(UsageError, match="'shop' is no setting; there are: collection, store"):
        run("settings", "get", "shop")


def run(*arguments: str) -> str:
    """Run a command in this process; return what it printed."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        typer.main.get_command(app).main(arguments, standalone_mode=False)
    return printed.getvalue()
