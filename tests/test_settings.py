"""Defaults: where they come from, in which order, and what is said of those that cannot be used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from t2c_search.doctor import examine
from t2c_search.errors import UsageError
from t2c_search.settings import load_settings
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
        listed = subprocess.run(
            [sys.executable, "-m", "t2c_search", "info", "--json"], capture_output=True, text=True, check=True
        )
        assert json.loads(listed.stdout) == {"store": stub.url, "collections": []}
        (store,) = [finding for finding in examine(stub.url) if finding.subject == "store"]
        assert store.state == "ok"


def test_a_file_in_place_of_the_stores_folder_is_a_problem(folder: Path) -> None:
    (folder / "photos.t2c").touch()
    (disk,) = [finding for finding in examine(str(folder / "photos.t2c")) if finding.subject == "disk"]
    assert (disk.state, disk.message) == ("problem", f"{folder / 'photos.t2c'} is a file")
