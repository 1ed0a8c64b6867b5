"""What is taken for classes and prompts, what is refused, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from t2c_search.concepts.zero_shot.classes import PHOTO, NamedClass, class_rows, read_classes, read_prompts
from t2c_search.concepts.zero_shot.labels import Labels
from t2c_search.errors import UsageError
from t2c_search.query.planning.texts import Texts

SHIP = NamedClass("ship", ("cargo ship", "cruise ship"))


def test_classes_are_read_from_a_text_a_file_a_list_and_a_mapping(tmp_path: Path) -> None:
    assert read_classes("cat, dog ,ship") == (
        NamedClass("cat", ("cat",)),
        NamedClass("dog", ("dog",)),
        NamedClass("ship", ("ship",)),
    )
    expected = (NamedClass("cat", ("cat",)), SHIP)
    file = tmp_path / "kinds.txt"
    file.write_text("\ufeff# what there is\ncat\n\n ship : cargo ship, cruise ship,cargo ship\n", encoding="utf-8")
    for given in (
        file,
        str(file),
        ["cat", "ship: cargo ship, cruise ship"],
        {"cat": "cat", "ship": ["cargo ship", "cruise ship"]},
    ):
        assert read_classes(given) == expected


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("cat", "give at least two names"),
        ("kinds.txt", "is one class, and no file"),
        ([], "0 classes"),
        ("cat,,dog", "has no name"),
        (["cat:", "dog"], "has no words"),
        ("Cat, cat", "have one name"),
        ("cat, " + 3000 * "x", "too long"),
    ],
)
def test_what_cannot_be_classes_is_told(given: str | list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_classes(given)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "kinds.bin").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(UsageError, match="UTF-8"):
        read_classes(tmp_path / "kinds.bin")
    with pytest.raises(UsageError, match="cannot be read"):
        read_classes(tmp_path / "none.txt")


def test_prompts_are_read(tmp_path: Path) -> None:
    assert read_prompts(None) is None and read_prompts("plain") is None
    assert read_prompts("photo") == PHOTO
    (tmp_path / "prompts.txt").write_text("a sketch of {}\n{} {{1}}\n")
    assert read_prompts(str(tmp_path / "prompts.txt")) == ("a sketch of {}", "{} {{1}}")
    assert read_prompts("a {} here") == ("a {} here",)
    for given, told in (("nothing.txt", "plain, photo"), (["a photo"], "has no {}"), ([], "no template")):
        with pytest.raises(UsageError, match=told):
            read_prompts(given)


class Recorder:
    """Embeds a text as a row of lengths that tell it from others, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        rows = np.array([[len(text), text.count("a"), text.count("s") + 1] for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_class_is_the_mean_of_all_its_prompts_normalised_once() -> None:
    embed = Recorder()
    rows = class_rows(Texts(embed), [NamedClass("cat", ("cat",)), SHIP], ("a {}", "{}, large {}"))
    asked = [
        "a cat",
        "cat, large cat",
        "a cargo ship",
        "cargo ship, large cargo ship",
        "a cruise ship",
        "cruise ship, large cruise ship",
    ]
    assert embed.asked == asked
    each = Recorder()(asked)
    means = np.array([each[:2].mean(0), each[2:].mean(0)])
    np.testing.assert_allclose(rows, means / np.linalg.norm(means, axis=1, keepdims=True), rtol=1e-6)


def test_plain_is_how_searches_put_a_text() -> None:
    texts = Texts(Recorder())
    row = class_rows(texts, [NamedClass("cat", ("a photo of a cat",)), NamedClass("dog", ("dog",))], None)[0]
    np.testing.assert_allclose(row, texts.vector("cat") / np.linalg.norm(texts.vector("cat")), rtol=1e-6)


def test_a_closed_vocabulary_is_asked_for_names_as_they_are() -> None:
    embed = Recorder()
    class_rows(Texts(embed, free_text=False), [NamedClass("cat", ("cat",)), SHIP], None)
    assert embed.asked == ["cat", "cargo ship", "cruise ship"]
    with pytest.raises(UsageError, match="closed vocabulary"):
        class_rows(Texts(embed, free_text=False), [SHIP], PHOTO)


def test_labels_are_names_or_wordings_of_one_class_alone() -> None:
    labels = Labels(
        "meta.kind",
        [NamedClass("cat", ("cat", "pet")), NamedClass("dog", ("hound", "pet")), NamedClass("pet", ("tortoise",))],
    )
    values = ["Cat", " hound ", "dog", "pet", "bird", None, ["cat", "dog"], ["cat", "big"], 3]
    truth = labels.read([{"meta": {"kind": value}} for value in values] + [{}])
    assert truth.tolist() == [0, 1, 1, 2, -1, -1, -1, 0, -1, -1]
    labels.check(5)
    with pytest.raises(UsageError, match="5 images have one of the classes in meta.kind, 20 are needed.*'bird'"):
        labels.check(20)
