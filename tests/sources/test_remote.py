"""Remote places through fsspec, and web addresses in manifests: the same images, and every failure by its name."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import fsspec
import numpy as np
import pytest

from t2c_search.errors import ImageError, UsageError
from t2c_search.sources import ImageInput, list_images, read_image
from t2c_search.sources import web as web_places
from t2c_search.stores import open_store
from t2c_search.stores.protocol import VectorStore
from tests.indexing.support import COUNT, contents, create, index, no_encoder

from .kinds import as_bytes, as_csv, as_tar, as_zip


@pytest.fixture
def bucket() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def upload(bucket: fsspec.AbstractFileSystem, *files: Path) -> None:
    for file in files:
        bucket.pipe_file(f"/bucket/{file.name}", file.read_bytes())


def test_a_remote_folder_gives_its_images_and_what_lies_beside_them(
    bucket: fsspec.AbstractFileSystem, photos: list[Path], store: VectorStore
) -> None:
    upload(bucket, *photos)
    bucket.pipe_file("/bucket/0002.txt", b"a caption")
    bucket.pipe_file("/bucket/0002.json", json.dumps({"rating": 5}).encode())
    bucket.pipe_file("/bucket/more.tar", b"")
    images = list_images(["memory://bucket"])
    assert [item.path for item in images] == [f"memory:///bucket/{path.name}" for path in photos]
    assert [item.size for item in images] == [path.stat().st_size for path in photos]
    assert all(item.mtime_ns for item in images)
    assert images[2].fields == {"captions": ["a caption"], "rating": 5}
    assert "more.tar" in images.warnings[0]
    assert index(images, store).indexed == COUNT
    assert index(list_images(["memory://bucket"]), store, encoder=no_encoder).unchanged == COUNT
    assert contents(store)["memory:///bucket/0002.jpg"][0]["folders"] == ["bucket"]
    bucket.pipe_file("/bucket/0001.jpg", photos[1].read_bytes() + b"changed")
    assert index(list_images(["memory://bucket"]), store).indexed == 1


def test_remote_archives_and_tables_are_read_in_place(
    bucket: fsspec.AbstractFileSystem, photos: list[Path], store: VectorStore
) -> None:
    plain = create(open_store(":memory:", "plain"))
    index(list_images(photos), plain)
    wanted = {payload["hash"]: vector for payload, vector in contents(plain).values()}
    upload(bucket, as_tar(photos), as_zip(photos), as_bytes(photos))
    images = list_images(["memory://bucket/*.{tar,zip,parquet}"])
    assert [item.path for item in images][::COUNT] == [
        "memory:///bucket/all.tar::set/0000.jpg", "memory:///bucket/all.zip::set/0000.jpg",
        "memory:///bucket/all.parquet::jpg/0",
    ]  # fmt: skip
    assert index(images, store).indexed == 3 * COUNT
    for payload, vector in contents(store).values():
        np.testing.assert_allclose(vector, wanted[payload["hash"]], atol=1e-6)
    assert index(list_images(["memory://bucket/*.{tar,zip,parquet}"]), store, encoder=no_encoder).unchanged == 3 * COUNT


def test_a_remote_manifest_names_files_beside_it(bucket: fsspec.AbstractFileSystem, photos: list[Path]) -> None:
    for path in photos:
        bucket.pipe_file(f"/bucket/photos/{path.name}", path.read_bytes())
    upload(bucket, as_csv(photos))
    images = list_images(["memory://bucket/all.csv"])
    assert [read_image(item.path) for item in images] == [path.read_bytes() for path in photos]
    assert images[1].fields["captions"] == ["picture 1"]


def test_a_remote_source_that_is_not_there_is_a_warning(bucket: fsspec.AbstractFileSystem) -> None:
    images = list_images(["memory://nowhere/a.jpg", "memory://nowhere/a.tar"])
    assert not images
    assert "no file or folder 'memory:///nowhere/a.jpg'" in images.warnings[0]
    assert "memory:///nowhere/a.tar" in images.warnings[1]
    with pytest.raises(UsageError, match="nothing matches"):
        list_images(["memory://nowhere/*.jpg"])


@pytest.mark.parametrize(
    ("address", "package", "message"),
    [
        ("s3://bucket/a.jpg", "s3fs", "s3:// addresses need a package that is not installed: pip install s3fs"),
        ("gs://bucket/a.jpg", "gcsfs", "gs:// addresses need a package that is not installed: pip install gcsfs"),
        ("nonsense://a.jpg", "nonsense", "no file system is known as nonsense://"),
    ],
)
def test_a_missing_file_system_is_named_with_its_package(address: str, package: str, message: str) -> None:
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(UsageError, match=message):
        list_images([address])
    with pytest.raises(UsageError, match=message):
        read_image(address)


def test_file_addresses_are_local_paths(photos: list[Path]) -> None:
    assert [item.path for item in list_images([f"file://{photos[0]}"])] == [str(photos[0])]


class Server(SimpleHTTPRequestHandler):
    """Files, and some misbehaviour."""

    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path == "/moved.jpg":
            self.send_response(302)
            self.send_header("Location", "/0001.jpg")
            self.end_headers()
        elif self.path == "/broken.jpg":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"short")
        elif self.path == "/silent.jpg":
            threading.Event().wait(2)
        elif self.path == "/dripping.jpg":
            self.send_response(200)
            self.end_headers()
            with suppress(ConnectionError):  # the client has had enough
                for _ in range(100):
                    self.wfile.write(b"x")
                    threading.Event().wait(0.02)
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web(photos: list[Path]) -> Iterator[str]:
    Server.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(photos[0].parent)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_web_addresses_in_a_manifest_are_fetched_and_each_failure_is_that_images(
    web: str, photos: list[Path], tmp_path: Path, store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["0000.jpg", "moved.jpg", "gone.jpg", "broken.jpg", "silent.jpg"]
    rows = [f"{web}/{name},picture {number}" for number, name in enumerate(names)]
    (tmp_path / "urls.csv").write_text(
        "\n".join(["url,caption", *rows, "http://127.0.0.1:1/closed.jpg,x", "http:///,y"])
    )
    images = list_images([tmp_path / "urls.csv"], allow_private=True)
    assert Server.requests == [], "listing fetches nothing"
    monkeypatch.setattr(web_places, "TIMEOUT", 0.5)
    web_places.client.cache_clear()
    report = index(images, store)
    web_places.client.cache_clear()
    assert report.indexed == 2
    found = contents(store)
    assert found[f"{web}/0000.jpg"][0]["captions"] == ["picture 0"]
    assert found[f"{web}/moved.jpg"][0]["bytes"] == photos[1].stat().st_size
    assert {failure.path.rpartition("/")[2]: failure.reason for failure in report.failures} == {
        "gone.jpg": "the server answered 404 File not found",
        "broken.jpg": "the address cannot be fetched: peer closed connection without sending complete message body "
        "(received 5 bytes, expected 1000)",
        "silent.jpg": "the server did not answer within 0 s",
        "closed.jpg": "the address cannot be fetched: [Errno 111] Connection refused",
        "": "the address cannot be fetched: Request URL is missing an 'http://' or 'https://' protocol.",
    }
    Server.requests.clear()
    again = index(list_images([tmp_path / "urls.csv"], allow_private=True), store)
    assert again.unchanged == 2
    assert f"{web}/0000.jpg" not in Server.requests


def test_a_named_web_address_is_fetched(web: str, photos: list[Path]) -> None:
    (item,) = list_images([f"{web}/0003.jpg"])
    assert isinstance(item, ImageInput)
    assert read_image(item.path) == photos[3].read_bytes()


def test_a_server_that_sends_too_much_is_cut_off(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t2c_search.decoding.files.MAX_BYTES", 100)
    with pytest.raises(ImageError, match="larger than the limit"):
        read_image(f"{web}/0000.jpg")


def test_a_server_that_drips_is_left_though_it_never_pauses(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_places, "_FETCH_SECONDS", 0.1)  # of the two that the file takes, a byte at a time
    with pytest.raises(ImageError, match="the server did not finish within 0 s"):
        read_image(f"{web}/dripping.jpg")
