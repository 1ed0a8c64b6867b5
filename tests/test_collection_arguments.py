"""What is given to the facade by mistake is refused at once, and says what was expected; a single path is one of several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from t2c_search import fit
from t2c_search.collection import Collection, open_collection
from t2c_search.collection.models import ModelSelection
from t2c_search.errors import UsageError
from t2c_search.state.concepts import CONCEPTS
from tests.indexing.support import save_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "photos", 4)[0].parent


@pytest.fixture
def photos() -> Iterator[Collection]:
    with open_collection("photos", ":memory:", clip="mini", backbone="mini") as collection:
        yield collection


def no_model(*_: object, **__: object) -> object:
    raise AssertionError("a model was loaded before the arguments were looked at")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"every": 0}, "every is 0: expected a number of seconds, more than 0"),
        ({"every": -1.5}, "every is -1.5"),
        ({"every": float("nan")}, "every is nan"),
        ({"every": float("inf")}, "every is inf"),
        ({"every": "5"}, "every is '5'"),
        ({"engine": "rays"}, "engine is 'rays': expected one of local, ray"),
        ({"quantization": "int4"}, "quantization is 'int4': expected one of none, int8, tq4"),
        ({"batch_size": 0}, "batch_size is 0: expected a whole number from 1 on"),
        ({"workers": -1}, "workers is -1"),
        ({"workers": 1.5}, "workers is 1.5"),
        ({"workers": True}, "workers is True"),
        ({"fit_pairs": 0}, "fit_pairs is 0"),
        ({"fields": {'a"b': "float"}}, "cannot have a type: no query can name it"),
        ({"fields": {"a..b": "float"}}, "cannot have a type: no query can name it"),
        ({"sources": 7}, "sources is, or has in it, 7: expected a text or a Path"),
        ({"sources": [b"photos"]}, "sources is, or has in it, b'photos'"),
        ({"sources": None}, "sources is, or has in it, None"),
    ],
)
def test_arguments_of_index_that_cannot_be_meant(
    given: dict[str, Any], message: str, photos: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelSelection, "load_pair", no_model)
    with pytest.raises(UsageError) as caught:
        photos.index(**{"sources": [folder]} | given)
    assert message in str(caught.value)
    assert not photos.store.exists()


@pytest.mark.parametrize("kind", [str, Path])
def test_a_single_path_is_a_list_of_one(
    kind: type, photos: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert photos.index(kind(folder)).indexed == 4
    stop = Event()
    stop.set()
    assert list(photos.watch(kind(folder), stop=stop)) == []
    one = kind(folder / "0001.jpg")
    photos.add_concept("it", one, texts="a dog")
    saved = photos.store.read_blob(CONCEPTS.key)
    photos.add_concept("it", [one], texts=["a dog"])
    assert saved == photos.store.read_blob(CONCEPTS.key)
    with pytest.raises(UsageError, match="is the CLIP model itself"):
        fit(kind(folder), backbone="mini", clip="mini")
    asked: list[object] = []
    monkeypatch.setattr("t2c_search.collection.facade.check_native", lambda *_: None)
    monkeypatch.setattr("t2c_search.collection.facade.choose_aligner", lambda source, *_: asked.append(source.images))
    monkeypatch.setattr("t2c_search.collection.facade.realign", no_model)
    with pytest.raises(AssertionError):
        photos.realign(fit_images=kind(folder))
    assert asked == [[str(folder)]]


def test_numbers_of_the_other_methods_are_looked_at_too(photos: Collection, folder: Path) -> None:
    photos.index(folder)
    with pytest.raises(UsageError, match="workers is 0"):
        photos.retry(workers=0)
    with pytest.raises(UsageError, match="batch_size is -8"):
        photos.watch(folder, batch_size=-8)
    with pytest.raises(UsageError, match="fit_pairs is -1"):
        photos.realign(fit_images=folder, fit_pairs=-1)
