"""Vectors are found by path, by as much of it as is known, and never silently the wrong one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from t2c_search.encoders import registry
from t2c_search.encoders.protocols import VectorLookup
from t2c_search.errors import EncoderError, UnknownVectorError, UsageError
from tests.encoders import tiny

ROWS = np.arange(24, dtype=np.float32).reshape(6, 4) + 1


def open_folder(folder: Path, names: list[str]) -> VectorLookup:
    return registry.load_image_encoder(tiny.save_precomputed(folder, dict(zip(names, ROWS, strict=False)), {}))


@pytest.mark.parametrize(
    ("names", "asked", "row"),
    [
        (["a.jpg", "b.jpg"], "b.jpg", 1),
        (["a.jpg", "b.jpg"], "/photos/2019/b.jpg", 1),
        (["one/a.jpg", "two/a.jpg"], "/photos/two/a.jpg", 1),
        (["one/a.jpg", "two/a.jpg"], "two/a.jpg", 1),
        (["photos/two/b.jpg"], "b.jpg", 0),
        (["/old/disk/one/a.jpg", "/old/disk/two/a.jpg"], "/new/disk/one/a.jpg", 0),
        (["/old/disk/a.jpg"], "/new/place/a.jpg", 0),
        (["a.jpg", "one/a.jpg"], "/photos/one/a.jpg", 1),
        (["a.jpg", "one/a.jpg"], "/photos/two/a.jpg", 0),
        (["b.jpg", "a.jpg"], "/photos/all.tar::a.jpg", 1),
        (["/photos/all.tar::one/a.jpg", "/photos/all.tar::two/a.jpg"], "/photos/all.tar::two/a.jpg", 1),
        (["000017", "/old/disk/a.jpg"], "/laion/img_emb/img_emb_0.npy::/old/disk/a.jpg", 1),
        (["000017", "/old/disk/a.jpg"], "/laion/img_emb/img_emb_0.npy::000017", 0),
    ],
)
def test_a_path_finds_its_vector(names: list[str], asked: str, row: int, tmp_path: Path) -> None:
    encoder = open_folder(tmp_path / "vectors", names)
    assert torch.equal(encoder.look_up(asked), torch.from_numpy(ROWS[row]))


@pytest.mark.parametrize(
    ("names", "asked", "message"),
    [
        (["dog_1.jpg", "cat_7.jpg"], "dog_2.jpg", "no vector for 'dog_2.jpg'; it knows 2 images, nearest: 'dog_1.jpg'"),
        (["one/a.jpg"], "/photos/two/a.jpg", "no vector"),
        (["one/a.jpg", "two/a.jpg"], "a.jpg", "has 2 vectors for the path 'a.jpg'"),
        (["a.jpg", "b.jpg"], "zzz.png", "nearest: none"),
    ],
)
def test_a_path_that_finds_none_or_several_is_an_error(
    names: list[str], asked: str, message: str, tmp_path: Path
) -> None:
    encoder = open_folder(tmp_path / "vectors", names)
    with pytest.raises(UnknownVectorError, match=message):
        encoder.look_up(asked)


def test_concepts_are_known_in_any_case_and_unit_length(tmp_path: Path) -> None:
    concepts = {"Air conditioner": ROWS[1], "dog": ROWS[2]}
    encoder_id = tiny.save_precomputed(tmp_path / "vectors", {"a.jpg": ROWS[0]}, concepts)
    texts = registry.load_text_encoder(encoder_id, device="cpu")
    assert texts.vocabulary == ("Air conditioner", "dog")
    rows = texts.encode_texts(["DOG", " air  conditioner"])
    expected = ROWS[[2, 1]] / np.linalg.norm(ROWS[[2, 1]], axis=1, keepdims=True)
    np.testing.assert_allclose(rows.numpy(), expected, rtol=1e-6)


def test_images_alone_serve_a_fit_but_no_search(tmp_path: Path) -> None:
    encoder_id = tiny.save_precomputed(tmp_path / "vectors", {"a.jpg": ROWS[0]}, {})
    clip = registry.load_clip(encoder_id)
    assert clip.image_dim == 4
    with pytest.raises(UsageError, match=r"has no text side: bring a text tower .* or put concept_embeddings\.npy"):
        registry.require_text(clip)


def test_concepts_do_not_change_the_fingerprint_of_the_images(tmp_path: Path) -> None:
    bare = registry.load_clip(tiny.save_precomputed(tmp_path / "bare", {"a.jpg": ROWS[0]}, {}))
    named = registry.load_clip(tiny.save_precomputed(tmp_path / "named", {"a.jpg": ROWS[0]}, {"dog": ROWS[1]}))
    renamed = registry.load_clip(tiny.save_precomputed(tmp_path / "renamed", {"b.jpg": ROWS[0]}, {}))
    assert bare.fingerprint == named.fingerprint
    assert bare.fingerprint != renamed.fingerprint


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    encoder_id = tiny.save_precomputed(folder, {"a.jpg": ROWS[0], "b.jpg": ROWS[1]}, {"dog": ROWS[2]})

    np.save(folder / "concept_embeddings.npy", np.ones((1, 3), np.float32))
    with pytest.raises(EncoderError, match=r"mixes dimensions.*'image_embeddings.npy': 4, 'concept_embeddings.npy': 3"):
        registry.load(encoder_id)
    (folder / "image_names.txt").write_text("a.jpg\n")
    with pytest.raises(EncoderError, match=r"image_embeddings.npy has 2 rows, image_names.txt 1 names"):
        registry.load(encoder_id)
    (folder / "image_names.txt").unlink()
    with pytest.raises(EncoderError, match=r"image_embeddings.npy needs image_names.txt"):
        registry.load(encoder_id)
    np.save(folder / "image_embeddings.npy", np.ones(5, np.float32))
    (folder / "image_names.txt").write_text("a.jpg\n")
    with pytest.raises(EncoderError, match=r"is float32 \(5,\), expected floats \(n, d\)"):
        registry.load(encoder_id)
    (folder / "image_embeddings.npy").write_bytes(b"no array")
    with pytest.raises(EncoderError, match="cannot be read"):
        registry.load(encoder_id)
    (folder / "image_embeddings.npy").unlink()
    with pytest.raises(EncoderError, match=r"holds no vectors: expected image_embeddings.npy"):
        registry.load(encoder_id)
