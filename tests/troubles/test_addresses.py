"""What may be fetched because a table names it, and how addresses may be spelt."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from t2c_search.errors import ImageError
from t2c_search.sources import list_images, read_image
from t2c_search.sources import web as places
from t2c_search.sources.private import private_addresses
from t2c_search.stores.protocol import VectorStore
from tests.cli.conftest import run
from tests.indexing.conftest import photos, store
from tests.indexing.support import index

__all__ = ["photos", "store"]

RESOLVE = socket.getaddrinfo


class Server(SimpleHTTPRequestHandler):
    """The photographs, and redirects."""

    requests: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.requests.append((self.headers["Host"].partition(":")[0], self.path))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", f"http://{self.path.removeprefix('/to/')}:{self.server.server_port}/0001.jpg")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Where a server listens; ``public.test`` and ``other.test`` are public addresses, and lead there all the same."""

    def resolve(host: str, *args: Any, **options: Any) -> list[Any]:
        known = {"public.test": "93.184.215.14", "other.test": "93.184.215.15", "inner.test": "10.1.2.3"}
        return RESOLVE(known.get(host, host), *args, **options)

    connect = socket.create_connection

    def to_the_server(address: tuple[str, int], *args: Any, **options: Any) -> socket.socket:
        there = address[0].startswith("93.184.215.") or address[0] in ("public.test", "other.test")
        return connect(("127.0.0.1", address[1]) if there else address, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", to_the_server)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    places.client.cache_clear()
    Server.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(photos[0].parent)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()
    places.client.cache_clear()


PRIVATE = [
    "127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1",
    "[fe80::1]", "[fd00::1]", "224.0.0.1", "inner.test", "user:key@127.0.0.1", "public.test@127.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("host", PRIVATE)
@pytest.mark.parametrize("scheme", ["http", "HTTPS", "ftp", "sftp"])
def test_a_table_may_not_name_what_is_private(host: str, scheme: str, port: int) -> None:
    with private_addresses(allowed=False), pytest.raises(ImageError, match="a table may not name the private address"):
        read_image(f"{scheme}://{host}/0001.jpg" if scheme != "http" else f"http://{host}:{port}/0001.jpg")
    assert Server.requests == []


@pytest.mark.parametrize(
    "address",
    ["zip://a.jpg::http://127.0.0.1/a.zip", "https://public.test/a.tar::1.jpg", "simplecache::sftp://127.0.0.1/a.jpg"],
)
def test_neither_by_a_chain_nor_by_an_archive(address: str, port: int, tmp_path: Path, store: VectorStore) -> None:
    (tmp_path / "rows.csv").write_text(f"url\n{address}\n")
    report = index(list_images([tmp_path / "rows.csv"]), store)
    assert report.failed == 1
    assert "a table may not name" in report.failures[0].reason or "cannot be read" in report.failures[0].reason
    assert Server.requests == []


def test_each_image_of_a_table_is_judged_by_itself_and_again_at_each_redirect(
    port: int, tmp_path: Path, store: VectorStore
) -> None:
    rows = {
        "good": f"http://public.test:{port}/0000.jpg",
        "moved": f"http://public.test:{port}/to/other.test",
        "inner": f"http://public.test:{port}/to/127.0.0.1",
        "metadata": f"http://public.test:{port}/to/169.254.169.254",
        "plain": f"http://127.0.0.1:{port}/0002.jpg",
    }
    (tmp_path / "rows.csv").write_text("\n".join(["url", *rows.values()]))
    report = index(list_images([tmp_path / "rows.csv"]), store)
    assert report.indexed == 2
    assert {failure.path for failure in report.failures} == {rows["inner"], rows["metadata"], rows["plain"]}
    assert all("t2c index --allow-private" in failure.reason for failure in report.failures)
    assert {host for host, _ in Server.requests} == {"public.test", "other.test"}
    allowed = index(list_images([tmp_path / "rows.csv"], allow_private=True), store)
    assert (allowed.indexed, allowed.unchanged) == (2, 2)
    assert [failure.path for failure in allowed.failures] == [rows["metadata"]]


def test_a_name_that_resolves_anew_is_not_asked_again(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["93.184.215.14", "127.0.0.1", "127.0.0.1", "127.0.0.1"])
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **options: RESOLVE(next(answers) if host == "turn.test" else host, *rest, **options),
    )
    with private_addresses(allowed=False):
        read_image(
            f"http://turn.test:{port}/0001.jpg"
        )  # from the address that was judged, which the server stands in for
        with pytest.raises(ImageError, match="private address 127.0.0.1 of 'turn.test'"):
            read_image(f"http://turn.test:{port}/0001.jpg")


def test_what_the_user_names_is_fetched_from_anywhere(port: int, photos: list[Path], store: VectorStore) -> None:
    report = index(list_images([f" HTTP://127.0.0.1:{port}/0003.jpg\t"]), store)
    assert report.indexed == 1
    assert read_image(f"http://127.0.0.1:{port}/0003.jpg") == photos[3].read_bytes()


@pytest.mark.parametrize("spelt", ["MEMORY://troubles/a.jpg", "  memory://troubles/a.jpg ", "Memory://troubles/*.jpg"])
def test_addresses_are_known_however_their_scheme_is_spelt(spelt: str, tmp_path: Path, photos: list[Path]) -> None:
    import fsspec

    with fsspec.open("memory://troubles/a.jpg", "wb") as file:
        file.write(photos[0].read_bytes())
    assert [item.path for item in list_images([spelt])] == ["memory:///troubles/a.jpg"]
    if "*" not in spelt:
        (tmp_path / "rows.jsonl").write_text(f'{{"url": "{spelt}"}}\n')
        (item,) = list_images([tmp_path / "rows.jsonl"])
        assert read_image(item.path) == photos[0].read_bytes()
    (tmp_path / "local.csv").write_text(f"image\nFILE://{photos[1]}\n")
    assert [item.path for item in list_images([tmp_path / "local.csv"])] == [photos[1].as_posix()]


def test_the_command_line_has_a_word_for_tables_that_are_trusted(port: int, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(f"url\nhttp://127.0.0.1:{port}/0002.jpg\n")
    command = (
        "index",
        tmp_path / "rows.csv",
        "--store",
        tmp_path / "photos.t2c",
        "-c",
        "web",
        "--clip",
        "mini",
        "--json",
    )
    refused = run(*command)
    assert refused.code == 3
    assert "--allow-private" in refused.json["failures"][0]["reason"]
    assert run(*command, "--allow-private").json["indexed"] == 1


def test_only_what_the_user_names_may_be_private(port: int, photos: list[Path]) -> None:
    listed = list_images([photos[0].parent, f"http://127.0.0.1:{port}/0001.jpg"])
    assert [item.allow_private for item in listed] == [False] * len(photos) + [True]
