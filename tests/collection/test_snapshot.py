"""A handle and what others do to its collection meanwhile: it answers from what is there, and from one state of it."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from t2c_search.collection import Collection
from t2c_search.collection.models import Models
from t2c_search.errors import CollectionFormatError, CollectionReplacedError, StoreError, UsageError
from t2c_search.indexing.writer import Writer
from t2c_search.query.execution import searcher
from t2c_search.state.concepts import CONCEPTS
from t2c_search.state.statistics import CLAIMS
from t2c_search.stores import header
from t2c_search.types import FloatArray, Points
from tests.cli.conftest import run
from tests.collection.conftest import Open
from tests.collection.support import ASKED, IMAGES, Aligners, answer, beside, opened
from tests.indexing.support import save_pictures
from tests.stubs.rest import QdrantStub


def test_a_handle_sees_what_others_added(handle: Open, photos: Path, tmp_path: Path) -> None:
    reader = handle()
    half = reader.count('"a star" top 50%')
    assert (half.count, half.exact) == (IMAGES // 2, True)
    assert half.statistics is not None
    assert (half.statistics.images, half.statistics.current) == (IMAGES, True)
    with pytest.raises(UsageError, match="mood"):
        reader.count('mood = "calm"')
    reader.release()

    added = save_pictures(tmp_path / "more", 10, first=IMAGES)
    table = tmp_path / "moods.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption", "mood"), *((path, "a thing", "calm") for path in added)])
    writer = handle()
    writer.index([tmp_path / "more"], captions=table)
    writer.add_concept("starry", texts=["a star"])
    writer.release()

    assert reader.count('mood = "calm"').count == 10
    half = reader.count('"a star" top 50%')
    assert (half.count, half.exact) == (IMAGES // 2 + 5, True)
    assert half.statistics is not None
    assert (half.statistics.images, half.statistics.current, half.as_of) == (IMAGES + 10, True, None)
    starry = [hit.id for hit in reader.search("@starry", limit=5)]
    reader.release()
    assert starry == [hit.id for hit in writer.search("a star", limit=5)]


@pytest.mark.parametrize("words", [["a", "star"], ['"a star" AND width > 1']])
def test_a_search_in_a_shell_takes_five_requests(server: QdrantStub, words: list[str]) -> None:
    server.requests.clear()
    outcome = run("search", *words, "-c", "photos", "--store", server.url, "--json")
    assert outcome.json["count"] > 0
    assert len(server.requests) <= 5  # its version, the header, what the header names, strict mode, the question


def test_questions_take_few_requests_and_read_no_vectors_while_an_indexer_is_at_work(
    server: QdrantStub, photos: Path
) -> None:
    def requests() -> list[str]:
        paths = [path for _, path, *_ in server.requests]
        server.requests.clear()
        return paths

    requests()
    reader = opened(server.url)
    reader.search("a star")
    assert len(requests()) <= 5
    reader.search("a circle")
    assert len(requests()) <= 2
    quiet = answer(reader)
    requests()
    indexer = opened(server.url)
    indexing = Writer(indexer.store.pinned()).__enter__()
    point = next(indexer.store.scan(vectors=("clip", "native"), batch_size=1))
    indexing.put(Points(["00000000-0000-4000-8000-000000000000"], [{"path": "/new.jpg"}], point.vectors), set())
    indexing.drain()
    requests()
    for late in (reader, None):
        late = late or opened(server.url)
        assert len(answer(late)) == len(quiet)
        found = late.search('"a star" >= 0.5sd', limit=5)
        assert found.statistics is not None
        assert (found.statistics.images, found.statistics.current, found.as_of) == (IMAGES, False, IMAGES)
        assert late.search('"a star"', limit=5).as_of is None  # no threshold hangs on it
        asked = requests()
        assert not [path for path in asked if "scroll" in path]
        assert len(asked) <= 3 + 2 * (len(ASKED) + 2)
    indexing.__exit__(None, None, None)
    found = reader.search('"a star" >= 0.5sd', limit=5)
    assert found.statistics is not None
    assert (found.statistics.images, found.statistics.current, found.as_of) == (IMAGES + 1, True, None)


class DiesSoon:
    """Kills its process once something is written."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    def start(self, total: int | None, stage: str) -> None: ...

    def fail(self, failure: object) -> None: ...

    def advance(self, images: int) -> None:
        if CLAIMS.read(self.collection.store).open:
            os.kill(os.getpid(), signal.SIGKILL)


def index_and_die(location: str, photos: Path) -> None:
    collection = opened(location)
    collection.index([photos], batch_size=4, progress=DiesSoon(collection))


@pytest.mark.parametrize("engine", ["embedded", "server"])
def test_what_a_killed_indexer_left_stale_is_seen_until_the_next_run(
    request: pytest.FixtureRequest, engine: str, photos: Path
) -> None:
    location = request.getfixturevalue("folder") if engine == "embedded" else request.getfixturevalue("server").url
    save_pictures(photos, 40, first=IMAGES)

    with pytest.raises(AssertionError), beside(index_and_die, location, photos):
        pass
    with opened(location) as reader:
        found = reader.count('"a star" >= 0.5sd')
        assert found.statistics is not None
        assert (found.statistics.images, found.statistics.current, found.as_of) == (IMAGES, False, IMAGES)
        reader.index([photos])
        found = reader.count('"a star" >= 0.5sd')
        assert found.statistics is not None
        assert (found.statistics.images, found.statistics.current) == (IMAGES + 40, True)


def test_a_retry_without_failures_repairs_what_a_killed_run_left(handle: Open) -> None:
    collection = handle()
    CLAIMS.update(collection.store, lambda claims: claims.with_claim("killed"))
    assert not collection.search("a star").statistics.current
    collection.retry()
    assert collection.search("a star").statistics.current


def realign(location: str, files: Sequence[Path]) -> None:
    with opened(location) as writer:
        for aligner in files:
            writer.realign(aligner)


def test_every_answer_is_wholly_of_one_space_while_another_process_realigns(
    server: QdrantStub, aligners: Aligners
) -> None:
    reader = opened(server.url)
    spaces = [answer(reader)]
    with opened(server.url) as writer:
        writer.realign(aligners.turned)
        spaces.append(answer(writer))
        assert spaces[0] != spaces[1]
    answers = []
    with beside(realign, server.url, [aligners.own, aligners.turned, aligners.own]) as process:
        while process.is_alive():
            for query in ASKED[:1]:
                answers.append([(hit.id, round(hit.score, 3)) for hit in reader.search(query, limit=5)])
            assert len(list(reader.mine('"a star" >= -9sd'))) == IMAGES
    expected = [space[:5] for space in spaces]
    assert all(found in expected for found in answers)
    assert all(found in answers for found in expected)
    assert answer(reader) == spaces[0]


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher, "_BATCH", 4)


def test_what_is_mined_stays_of_the_space_in_which_it_began(
    handle: Open, aligners: Aligners, few_at_once: None
) -> None:
    reader = handle()
    whole = list(reader.mine('"a star" >= -9sd'))
    mined = reader.mine('"a star" >= -9sd')
    hits = [next(mined)]
    reader.realign(aligners.turned)
    assert [*hits, *mined] == whole
    assert {hit.id: hit.score for hit in reader.mine('"a star" >= -9sd')} != {hit.id: hit.score for hit in whole}


def test_a_replacement_that_is_gone_while_hits_are_mined_is_told(
    server: QdrantStub, aligners: Aligners, few_at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "RETIRED_SECONDS", -1.0)  # removed at once
    reader = opened(server.url)
    mined = reader.mine('"a star" >= -9sd')
    next(mined)
    reader.realign(aligners.turned)
    with pytest.raises(CollectionReplacedError, match="replaced while it was mined.*mine it again"):
        list(mined)
    assert len(list(reader.mine('"a star" >= -9sd'))) == IMAGES


def test_a_concept_of_the_former_space_does_not_land_in_the_new_one(
    handle: Open, aligners: Aligners, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = handle()
    images = sorted(photos.iterdir())[:3]
    collection.add_concept("before", images)
    former = collection.concepts["before"].direction
    embed, replaced = Models.embed_image, list[Path]()

    def overtaken(models: Models, path: Path) -> FloatArray:
        if not replaced:
            replaced.append(aligners.turned)
            collection.realign(aligners.turned)
        return embed(models, path)

    monkeypatch.setattr(Models, "embed_image", overtaken)
    collection.add_concept("meanwhile", images)
    saved = collection.concepts
    assert replaced
    assert float(former @ saved["meanwhile"].direction) < 0.9  # of the new space
    collection.add_concept("after", images)
    assert float(collection.concepts["after"].direction @ saved["meanwhile"].direction) > 0.999


def test_damaged_concepts_stop_only_questions_that_name_one(handle: Open) -> None:
    collection = handle()
    collection.store.write_blob(CONCEPTS.key, b"damaged")
    assert len(collection.search("a star", limit=5)) == 5
    with pytest.raises(CollectionFormatError, match="saved concepts cannot be read"):
        collection.search("@any")


def test_it_shows_what_it_is(folder: str, tmp_path: Path) -> None:
    with opened(folder) as made:
        assert made.card is not None
        assert repr(made) == f"<Collection 'photos' in {folder}: mini:cnn for mini>"
    with opened(str(tmp_path / "none")) as nothing:
        assert "nothing read yet" in repr(nothing)


def test_texts_are_embedded_once_however_often_the_collection_changes(
    handle: Open, aligners: Aligners, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed, asked = Models.embed_texts, list[str]()

    def noted(models: Models, texts: Sequence[str]) -> FloatArray:
        asked.extend(texts)
        return embed(models, texts)

    monkeypatch.setattr(Models, "embed_texts", noted)
    reader = handle()
    reader.search("a star")
    once = len(asked)
    assert once
    CONCEPTS.write(reader.store, {})
    reader.search("a star")
    reader.refresh()
    reader.search("a star")
    reader.realign(aligners.turned)  # its CLIP model is the same
    reader.search("a star")
    assert len(asked) == once


def test_an_indexer_does_not_write_into_what_takes_its_collections_place(
    server: QdrantStub, aligners: Aligners
) -> None:
    with opened(server.url) as indexer, opened(server.url) as other:
        point = next(indexer.store.scan(vectors=("clip", "native"), batch_size=1))
        writing = Writer(indexer.store.pinned()).__enter__()
        other.realign(aligners.turned)
        late = Points(["00000000-0000-4000-8000-000000000000"], [{"path": "/new.jpg"}], point.vectors)
        with pytest.raises(CollectionReplacedError), writing:
            writing.put(late, set())
        assert other.store.count() == IMAGES
        assert other.search("a star").statistics.current


def test_realigning_waits_for_indexers_to_end(server: QdrantStub, aligners: Aligners) -> None:
    with opened(server.url) as photos:
        point = next(photos.store.scan(vectors=("clip", "native"), batch_size=1))
        with Writer(photos.store.pinned()) as writing:
            writing.put(Points([point.ids[0]], [point.payloads[0]], point.vectors), {point.ids[0]})
            writing.drain()
            with pytest.raises(StoreError, match="is being indexed into.*t2c retry"):
                photos.realign(aligners.turned)
        photos.realign(aligners.turned)


def test_realigning_is_refused_when_an_indexer_begins_meanwhile(server: QdrantStub, aligners: Aligners) -> None:
    with opened(server.url) as photos:
        quiet, writing = answer(photos), Writer(photos.store.pinned()).__enter__()
        point = next(photos.store.scan(vectors=("clip", "native"), batch_size=1))

        class BeginsMeanwhile:
            def start(self, total: int | None, stage: str) -> None: ...

            def fail(self, failure: object) -> None: ...

            def advance(self, images: int) -> None:
                writing.put(Points([point.ids[0]], [point.payloads[0]], point.vectors), {point.ids[0]})
                writing.drain()

        with pytest.raises(StoreError, match="left as it is, as its statistics-state was changed"):
            photos.realign(aligners.turned, progress=BeginsMeanwhile())
        writing.__exit__(None, None, None)
        assert answer(photos) == quiet


def test_described_images_are_claimed_as_well(server: QdrantStub, photos: Path, aligners: Aligners) -> None:
    (photos / "0001.txt").write_text("a thing")

    class Looks:
        claimed = False

        def start(self, total: int | None, stage: str) -> None: ...

        def fail(self, failure: object) -> None: ...

        def advance(self, images: int) -> None:
            self.claimed |= bool(CLAIMS.now(indexer.store).open)

    with opened(server.url) as indexer:
        looks = Looks()
        assert indexer.index([photos], progress=looks).updated == 1
        assert looks.claimed
        assert indexer.search("a star").statistics.current
