"""A settings file that anybody may have put there does no harm before the user trusts it, and its key goes to its own server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2c_search.collection import managing
from t2c_search.encoders import registry
from t2c_search.errors import StoreAccessError, UsageError
from t2c_search.settings import Settings, load_settings
from t2c_search.settings_file import HARMLESS_KINDS, read_settings_file
from tests.cli.conftest import run
from tests.stubs.rest import QdrantStub


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, without settings so far, and nothing trusted."""
    for name in [name for name in os.environ if name.startswith("T2C_")]:
        monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def server() -> Iterator[QdrantStub]:
    with QdrantStub(api_key="sesame") as stub:
        yield stub


HARMFUL = [
    'store = "http://example.com:6333"',
    'store = "HTTPS://example.com"',
    'clip = "torch:evil:make"',
    'backbone = "torch:evil:make"',
    'backbone = "acme:model"',
    'clip = "acme"',
]


@pytest.mark.parametrize("content", HARMFUL)
def test_what_may_do_harm_must_be_trusted(folder: Path, content: str) -> None:
    (folder / "t2c.toml").write_text(content)
    refused = run("collections")
    assert refused.code == 2 and refused.out == ""
    assert f"{folder / 't2c.toml'} names the " in refused.err and "run: t2c settings trust .\n" in refused.err
    assert run("settings", "trust", ".").code == 0
    load_settings()
    (folder / "t2c.toml").write_text(content + "\n")
    with pytest.raises(UsageError, match="has changed since you trusted it"):
        load_settings()


def test_the_same_file_elsewhere_is_not_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "t2c.toml").write_text(HARMFUL[0])
    assert run("settings", "trust", folder).code == 0
    (folder / "below").mkdir()
    (folder / "t2c.toml").rename(folder / "below" / "t2c.toml")
    monkeypatch.chdir(folder / "below")
    with pytest.raises(UsageError, match="is not trusted"):
        load_settings()


def test_what_does_no_harm_needs_no_trust(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "t2c.toml").write_text('store = "photos.t2c"\nclip = "mini"\nbackbone = "timm:resnet50"\nworkers = 3\n')
    assert (load_settings().store, load_settings().workers) == ("photos.t2c", 3)
    monkeypatch.setenv("T2C_QDRANT_API_KEY", "mine")
    with pytest.raises(UsageError, match="sets 'store' beside a key that is not its own"):
        load_settings()
    (folder / "t2c.toml").write_text("")
    load_settings()


def test_kinds_without_code_of_their_own_are_the_built_in_ones() -> None:
    assert {*HARMLESS_KINDS, "torch"} == set(registry._BUILT_IN)


def test_a_record_of_trust_is_not_looked_for_in_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "t2c.toml").write_text(HARMFUL[0])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "planted"))
    assert run("settings", "trust", ".").code == 0
    load_settings()
    monkeypatch.setenv("XDG_CONFIG_HOME", "planted")
    monkeypatch.setenv("HOME", str(folder.parent))
    with pytest.raises(UsageError, match="is not trusted"):
        load_settings()


@pytest.mark.skipif(os.name != "posix", reason="makes a pipe")
def test_a_pipe_in_place_of_the_file_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "t2c.toml")
    assert load_settings().collection == "images"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("x = " + "[" * 5000, "cannot be read"),
        ("#" * (1 << 20) + "\n", "larger than 1 MiB"),
        ('_env_file = ".env"', "sets '_env_file', which is no setting"),
        ("_cli_parse_args = true", "sets '_cli_parse_args', which is no setting"),
        ("\udcff", "cannot be read"),
    ],
)
def test_what_is_no_settings_file_is_a_sentence(folder: Path, content: str, told: str) -> None:
    (folder / "t2c.toml").write_bytes(content.encode(errors="surrogateescape"))
    refused = run("collections")
    assert refused.code == 2 and told in refused.err


def test_a_secret_that_cannot_be_used_is_not_printed(folder: Path) -> None:
    (folder / "t2c.toml").write_text("qdrant_api_key = 5318008")
    refused = run("settings")
    assert refused.code == 2 and "5318008" not in refused.err


def test_a_files_key_goes_to_its_own_server_only(
    folder: Path, server: QdrantStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "t2c.toml").write_text(f'store = "{server.url}/"\nqdrant_api_key = "sesame"\n')
    assert run("settings", "trust", ".").code == 0
    assert managing.list_collections() == managing.list_collections(server.url) == []
    with QdrantStub(api_key="sesame") as other:
        with pytest.raises(StoreAccessError):
            managing.list_collections(other.url)
        monkeypatch.setenv("T2C_STORE", other.url)
        with pytest.raises(StoreAccessError):
            managing.list_collections()
        monkeypatch.setenv("T2C_QDRANT_API_KEY", "sesame")  # the user's own goes where the user says
        assert managing.list_collections(other.url) == []


def test_a_key_without_a_server_goes_nowhere(folder: Path, server: QdrantStub) -> None:
    (folder / "t2c.toml").write_text('qdrant_api_key = "sesame"\n')
    assert Settings.of(read_settings_file()).key_for(server.url) is None


def test_settings_tell_which_file_is_used_and_whether_it_is_trusted(folder: Path) -> None:
    assert json.loads(run("settings", "--json").out)["file"] is None
    (folder / "t2c.toml").write_text('store = "http://anna:s3cret@example.com"\n')
    told = run("settings", "--json")
    assert json.loads(told.out)["file"] == {"path": str(folder / "t2c.toml"), "trusted": False}
    (store,) = [setting for setting in json.loads(told.out)["settings"] if setting["name"] == "store"]
    assert store == {
        "name": "store",
        "value": "http://***@example.com",
        "origin": f"key store of {folder / 't2c.toml'}",
    }
    shown = run("settings").out
    assert "is not trusted" in shown and "s3cret" not in shown + told.out
    assert run("settings", "trust", ".").code == 0
    assert "t2c.toml is trusted" in run("settings").out
    assert run("settings", "trust", folder.parent).code == 2
