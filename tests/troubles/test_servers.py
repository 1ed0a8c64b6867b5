"""What a server answers in part, and what is said of addresses and keys."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2c_search import errors
from t2c_search.collection import open_collection
from t2c_search.errors import StoreError, T2CWarning, UsageError, redact
from t2c_search.indexing.report import IndexReport
from t2c_search.stores import list_collections, open_store
from t2c_search.stores.protocol import VectorStore
from t2c_search.stores.server import connection
from t2c_search.testing.points import COUNT, SPEC, make_points
from t2c_search.types import Failure
from tests.cli.conftest import run
from tests.stubs.rest import QdrantStub


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantStub]:
    monkeypatch.setattr(connection, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(connection, "LONGEST_WAIT_SECONDS", 0.002)
    with QdrantStub() as stub:
        yield stub


@pytest.fixture
def store(stub: QdrantStub) -> Iterator[VectorStore]:
    store = open_store(stub.url, "photos", timeout=1)
    store.create(SPEC)
    yield store
    store.close()


@pytest.mark.parametrize("fault", ["half answer", b"", b" \n", b"{}", b'{"result": null}', b"<html>busy</html>"])
def test_empty_and_half_answers_are_asked_for_again(stub: QdrantStub, store: VectorStore, fault: bytes) -> None:
    stub.faults.extend([fault, fault])
    store.upsert(make_points())
    assert not stub.faults
    stub.faults.extend([fault, fault])
    assert store.count() == COUNT and not stub.faults


@pytest.mark.parametrize("fault", ["half answer", b""])
def test_so_is_the_very_first_answer(stub: QdrantStub, fault: bytes) -> None:
    stub.faults.extend([fault, fault, None, fault])
    assert list_collections(stub.url) == [] and not stub.faults


def test_a_server_that_breaks_off_for_ever_is_told(stub: QdrantStub, store: VectorStore) -> None:
    stub.faults.extend([b""] * 100)
    with pytest.raises(StoreError, match="broke off its answers, or gave empty ones"):
        store.count()
    assert len(stub.faults) > 90
    with pytest.raises(StoreError, match="broke off its answers, or gave empty ones"):
        list_collections(stub.url)


def test_a_web_page_is_told_at_once(stub: QdrantStub) -> None:
    stub.faults.extend([b"<html>hello</html>"] * 100)
    with pytest.raises(StoreError, match="does not answer like a Qdrant server"):
        list_collections(stub.url)
    assert len(stub.faults) == 98  # its version, and the request


WORDS = st.text("abcdefghij0123456789-._~!$&'()*+,;=%:@", min_size=3, max_size=12)


@given(
    WORDS,
    WORDS,
    st.sampled_from(["http", "https", "s3", "webhdfs", "HTTP"]),
    st.sampled_from(["", ":6333", "/a/b.jpg"]),
)
def test_no_password_of_an_address_is_told(user: str, password: str, scheme: str, rest: str) -> None:
    secret = f"<{password}>"  # in signs that the sentence has nowhere else
    told = redact(f"nothing answers at {scheme}://{user}:{secret}@host{rest} (refused)")
    assert told == f"nothing answers at {scheme}://***@host{rest} (refused)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://anna:pa/ss@host:6333", "http://***@host:6333"),
        ("http://token@host", "http://***@host"),
        ("zip://a.zip::http://u:p@h/x", "zip://a.zip::http://***@h/x"),
        ("http://u:p@h1,http://v:q@h2", "http://***@h1,http://***@h2"),
        ("s3://b/x?X-Amz-Signature=abc&y=1", "s3://b/x?X-Amz-Signature=***&y=1"),
        ("https://h/a.jpg?sig=abc", "https://h/a.jpg?sig=***"),
        ("http://host:6333/icon@2x.png", "http://host:6333/icon@2x.png"),
        ("http://[::1]:6333/icon@2x.png", "http://[::1]:6333/icon@2x.png"),
        ("mail anna@example.com, see http://host", "mail anna@example.com, see http://host"),
        ("/photos/a:b@c.jpg", "/photos/a:b@c.jpg"),
    ],
)
def test_of_an_address_only_its_secrets_are_left_out(text: str, told: str) -> None:
    assert redact(text) == told


def test_every_error_is_redacted() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.T2CError)]
    assert len(kinds) > 10
    for kind in kinds:
        assert "s3cret" not in str(kind("of http://anna:s3cret@host")) + repr(kind("of http://anna:s3cret@host"))


@pytest.mark.parametrize(
    "location", ["http://anna:s3cret@127.0.0.1:1", "http://anna:s3/cret@127.0.0.1:1", "http://a:s3cret@[x"]
)
def test_no_command_tells_a_password(location: str) -> None:
    for command in (["info", "-c", "photos"], ["collections"], ["search", "-c", "photos", "a dog"], ["doctor"]):
        told = run(*command, "--store", location)
        assert told.code in (1, 2)
        assert "s3" not in told.out + told.err and "cret" not in told.out + told.err


def test_reports_and_descriptions_tell_none(stub: QdrantStub) -> None:
    failure = Failure("http://anna:s3cret@host/a.jpg", "GET http://anna:s3cret@host/a.jpg: 404")
    assert "s3cret" not in str(IndexReport.of_failures([failure]).to_json())
    location = stub.url.replace("http://", "http://anna:s3cret@")
    with open_collection("photos", location) as photos:
        assert "s3cret" not in repr(photos)
    assert "s3cret" not in (listed := run("collections", "--store", location, "--json")).out
    assert listed.json["store"] == stub.url.replace("http://", "http://***@")


@pytest.mark.parametrize(
    "location", ["http://192.0.2.1:7333", "http://qdrant.invalid:7333", "http://[2001:db8::1]:7333"]
)
def test_a_key_over_plain_http_to_another_machine_is_warned_of_once(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_warned", set())
    with pytest.warns(
        T2CWarning, match="goes over plain http, where who sits between can read it: use https://"
    ) as told:
        open_store(location, "photos", api_key="sesame").close()
        open_store(location, "others", api_key="sesame").close()
    assert len(told) == 1 and "sesame" not in str(told[0].message)


@pytest.mark.parametrize(
    ("location", "key"),
    [
        ("http://127.0.0.1:7333", "sesame"),
        ("http://127.1.2.3:7333", "sesame"),
        ("http://[::1]:7333", "sesame"),
        ("http://localhost:7333", "sesame"),
        ("https://qdrant.invalid:7333", "sesame"),
        ("http://qdrant.invalid:7333", None),
    ],
)
def test_nothing_else_is_warned_of(location: str, key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("T2C_QDRANT_API_KEY", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_store(location, "photos", api_key=key).close()


@pytest.mark.parametrize("host", ["a" * 64, "a" * 64 + ".org", "a..org", "."])
def test_a_name_that_no_host_can_have_is_a_sentence(host: str) -> None:
    with pytest.raises(UsageError, match="cannot be used; expected http"):
        open_store(f"http://{host}:6333", "photos")


def test_half_a_password_is_not_told_as_a_port() -> None:
    with pytest.raises(UsageError) as told:
        open_store("http://anna:s3/cret@host", "photos")
    assert "s3" not in str(told.value) and "cret" not in str(told.value)
