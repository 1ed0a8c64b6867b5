"""``fit_decoder``: captions from files of every kind to a folder that appears when it is complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from t2c_search.collection.in_words.decoders import fit_decoder
from t2c_search.concepts.describe.folder import read_decoder
from t2c_search.encoders import registry
from t2c_search.encoders.fingerprint import encoder_ref
from t2c_search.errors import UsageError
from t2c_search.types import Failure

SHAPES = ("circle", "square", "star", "ring", "heart", "cross", "arrow")
CAPTIONS = [f"a {colour} {shape}" for colour in ("red", "blue", "green") for shape in SHAPES]
FILES = {"config.json", "model.safetensors", "tokenizer.json"}


def as_text(path: Path) -> Path:
    path = path / "captions.txt"
    path.write_text("\ufeff" + "  \n\n ".join(CAPTIONS), encoding="utf-8")
    return path


def as_csv(path: Path) -> Path:
    path = path / "captions.csv"
    path.write_text("Caption;source\n" + "".join(f'"{each}";web\n' for each in CAPTIONS))
    return path


def as_json_lines(path: Path) -> Path:
    path = path / "captions.jsonl"
    path.write_text("".join(json.dumps({"captions": CAPTIONS[start : start + 3]}) + "\n" for start in range(0, 21, 3)))
    return path


class Told:
    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.done = 0

    def start(self, total: int | None, stage: str) -> None:
        self.stages.append((stage, total))
        self.done = 0

    def advance(self, images: int) -> None:
        self.done += images

    def fail(self, failure: Failure) -> None:
        raise AssertionError(failure)


@pytest.mark.parametrize("write", [as_text, as_csv, as_json_lines])
def test_captions_of_every_kind_make_the_same_decoder(write: Callable[[Path], Path], tmp_path: Path) -> None:
    told = Told()
    card = fit_decoder(write(tmp_path), tmp_path / "new" / "decoder", clip="mini", steps=2, progress=told)
    assert card.clip == encoder_ref(registry.load_clip("mini"))
    assert card.shape.memory == 20
    assert told.stages == [("embedding the captions", 21), ("training the decoder", 192)]
    assert told.done == 192
    assert {file.name for file in (tmp_path / "new" / "decoder").iterdir()} == FILES
    direct = fit_decoder(CAPTIONS, tmp_path / "direct", clip="mini", steps=2)
    assert direct == card
    read, other = (read_decoder(tmp_path / name)[1].state_dict() for name in ("new/decoder", "direct"))
    assert all(np.array_equal(each, other[name]) for name, each in read.items())


def no_column(path: Path) -> Path:
    (path / "t.csv").write_text("image,text\na.jpg,a dog\n")
    return path / "t.csv"


def too_few(path: Path) -> Path:
    (path / "t.txt").write_text("a dog\na cat\na dog\n")
    return path / "t.txt"


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (no_column, "lacks the column 'caption'"),
        (too_few, "2 different captions are too few"),
        (lambda path: path / "none.txt", "none.txt' cannot be read"),
    ],
)
def test_captions_that_cannot_be_used_leave_nothing_behind(
    captions: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        fit_decoder(captions(tmp_path), tmp_path / "decoder", clip="mini")
    assert not (tmp_path / "decoder").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(UsageError, match="is not empty"):
        fit_decoder(CAPTIONS, tmp_path, clip="mini", steps=1)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_a_model_of_a_closed_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    folder.mkdir()
    rows = np.eye(4, dtype=np.float32)
    np.save(folder / "image_embeddings.npy", rows)
    (folder / "image_names.txt").write_text("a.jpg\nb.jpg\nc.jpg\nd.jpg\n")
    np.save(folder / "concept_embeddings.npy", rows[:2])
    (folder / "concept_names.txt").write_text("a dog\na cat\n")
    with pytest.raises(UsageError, match="knows the vectors of its own 2 texts alone"):
        fit_decoder(CAPTIONS, tmp_path / "decoder", clip=f"precomputed:{folder}", steps=1)
