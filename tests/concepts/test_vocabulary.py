"""Which concepts vectors are read in: files, lists, captions and the general list."""

import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from t2c_search.concepts.vocabulary import (
    LEAST_IMAGES,
    Vocabulary,
    choose_vocabulary,
    listed,
    read_vocabulary,
    vocabulary_of,
    vocabulary_of_captions,
)
from t2c_search.errors import UsageError
from t2c_search.query.planning.texts import Texts
from t2c_search.types import Points


class Captioned:
    """A searcher of images that have captions, and nothing else that a vocabulary asks for."""

    def __init__(self, captions):
        self._payloads = [{} if each is None else {"captions": each} for each in captions]

    def read(self, tree=None, *, vectors=(), payload=False):
        for start in range(0, len(self._payloads), 7):
            part = self._payloads[start : start + 7]
            yield Points([str(uuid.UUID(int=start + at)) for at in range(len(part))], part)


def test_the_general_list_is_long_grouped_and_without_duplicates():
    words = listed("everyday")

    assert len(words) >= 3000
    assert len(set(words.names)) == len(words) == len(words.groups)
    assert all(name == name.lower() == " ".join(name.split()) and len(name) <= 50 for name in words.names)
    sizes = Counter(words.groups)
    assert len(sizes) >= 40
    assert min(sizes.values()) >= 20
    wanted = (
        "people",
        "body",
        "furniture",
        "materials",
        "colours",
        "light",
        "composition",
        "quality",
        "weather",
        "movement",
    )
    assert all(any(name in group for group in sizes) for name in wanted)


def test_the_list_of_parts_and_attributes_is_long_grouped_and_without_duplicates():
    parts = listed("descriptors")

    assert len(parts) >= 1500
    assert all(name == name.lower() == " ".join(name.split()) and len(name) <= 50 for name in parts.names)
    assert min(Counter(parts.groups).values()) >= 20
    assert {"pointed ears", "red roof", "two wheels", "melted cheese"} <= set(parts.names)


@pytest.mark.parametrize("name", ["everyday", "descriptors"])
def test_no_concept_of_a_list_of_this_package_is_dropped_when_it_is_read(name):
    text = Path(__file__).parents[2] / "t2c_search" / "concepts" / f"{name}.txt"

    lines = [line for line in text.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]

    assert tuple(lines) == listed(name).names


def test_a_file_has_one_concept_a_line_below_headings(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("\ufeffdog\n\n# Places \nold  town\nDog\nbeach\n", encoding="utf-8")

    assert read_vocabulary(file) == Vocabulary(("dog", "old town", "beach"), ("", "Places", "Places"), "mine.txt")


@pytest.mark.parametrize("content", [b"", b"# only a heading\n", b"\xff\xfe\x00d"])
def test_a_file_without_concepts_is_refused(tmp_path, content):
    file = tmp_path / "mine.txt"
    file.write_bytes(content)

    with pytest.raises(UsageError, match="mine.txt"):
        read_vocabulary(file)


def test_captions_give_their_words_and_pairs():
    often = ["A brown dog, running on the snow."] * LEAST_IMAGES
    seldom = ["a platypus"] * (LEAST_IMAGES - 1)
    several = [["A dog runs.", "The dog barks at a dog"], None, ["dog", 3]]

    found = vocabulary_of_captions(Captioned([*often, *seldom, *several]))

    # said of most images first; "dog, running" is no pair, nor are words with "on the" between them
    assert found.names == ("dog", "brown", "brown dog", "running", "snow")
    assert found.groups == ("words", "words", "word pairs", "words", "words")


def test_captions_of_one_image_count_once():
    with pytest.raises(UsageError, match="no word stands in the captions"):
        vocabulary_of_captions(Captioned([["a dog"] * 50]))


def test_what_is_given_decides(tmp_path):
    (tmp_path / "mine.txt").write_text("cat\n")
    searcher = Captioned(["a dog"] * LEAST_IMAGES)

    def choose(given, clip="open_clip:any", closed=None):
        return choose_vocabulary(given, searcher, clip, closed).names

    assert choose(tmp_path / "mine.txt") == choose(str(tmp_path / "mine.txt")) == ("cat",)
    assert choose("dog, red car ,dog") == choose(["dog", "red car"]) == ("dog", "red car")
    assert choose("captions") == ("dog",)
    assert choose("everyday") == choose(None) == listed("everyday").names
    assert choose("descriptors") == listed("descriptors").names
    assert "a red circle" in choose(None, clip="mini")
    assert choose(None, closed=("aerosol_can", "Dog")) == ("aerosol_can", "Dog")
    assert set(choose("everyday", closed=("Dog", "aerosol_can"))) == {"dog"}
    assert choose(vocabulary_of([("x", "")], "own")) == ("x",)


@pytest.mark.parametrize("given", ["no-such-file.txt", "", Path("a,b"), [], [" "], [3], ["x" * 3000]])
def test_what_is_no_vocabulary_is_refused(given):
    with pytest.raises(UsageError):
        choose_vocabulary(given, Captioned([]), "open_clip:any", None)


def test_a_closed_text_model_that_knows_no_word_says_so():
    with pytest.raises(UsageError, match="knows none of the general list"):
        choose_vocabulary("everyday", Captioned([]), "open_clip:any", ("qwertz",))


def test_a_vocabulary_is_embedded_once():
    asked = []

    def embed(texts):
        asked.extend(texts)
        return np.tile(np.array([[3.0, 4.0]], np.float32), (len(texts), 1))

    texts = Texts(embed, free_text=False)
    rows = texts.rows(("dog", "cat"))

    assert texts.rows(["dog", "cat"]) is rows
    assert asked == ["dog", "cat"]
    np.testing.assert_allclose(rows, [[0.6, 0.8]] * 2)
