"""The models that are loaded are those asked for, where and as precise as asked; code of the user's own only by name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2c_search.alignment.aligner import Aligner
from t2c_search.collection import open_collection
from t2c_search.collection.fitting import fit
from t2c_search.collection.models import Models, ModelSelection, encoder_ref
from t2c_search.encoders.pool import ModelPool
from t2c_search.errors import UsageError
from t2c_search.settings import Settings
from t2c_search.state.card import CollectionCard
from t2c_search.stores import open_store
from t2c_search.types import Fingerprint
from tests.encoders.recorder import install_recorder
from tests.encoders.tiny import save_factory, save_open_clip, save_timm

IMAGES = 24
MINE = "torch:their_code:make"
CODE = """
from pathlib import Path

Path(__file__).with_suffix(".ran").touch()

def make():
    raise AssertionError("unreachable")
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, two models, and a collection of the images made with them."""
    root = tmp_path_factory.mktemp("models")
    (root / "images").mkdir()
    rng = np.random.default_rng(3)
    for number in range(IMAGES):
        picture = Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8))
        picture.resize((48, 48)).save(root / "images" / f"{number}.png")
    models = {"clip": save_open_clip(root / "clip", seed=1), "backbone": save_timm(root / "bb", "test_resnet", seed=2)}
    with open_collection("photos", str(root / "s.t2c"), **models) as photos:
        photos.index([root / "images"], keep_native=True)
    return root


@pytest.fixture
def store(root: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(root / "s.t2c", tmp_path / "s.t2c"))


@pytest.fixture
def their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Code of somebody's, importable; the file that it leaves when it is run."""
    (tmp_path / "their_code.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "their_code.ran"


def name_in_card(store: str, role: str) -> None:
    """Make a collection's card name code for one of its models."""
    raw = open_store(store, "photos")
    card = json.loads(raw.read_blob("card") or b"")
    if role == "text":
        card["text"] = MINE
    else:
        card[role]["id"] = MINE
    raw.write_blob("card", json.dumps(card).encode())
    raw.close()


@pytest.mark.parametrize("role", ["clip", "backbone", "text"])
def test_code_that_a_collection_names_is_not_run_by_a_search(
    role: str, root: Path, store: str, their_code: Path
) -> None:
    name_in_card(store, role)
    query = {"image": root / "images" / "1.png"} if role == "backbone" else {"query": "a dog"}
    with open_collection("photos", store) as photos, pytest.raises(UsageError, match=f"--{role} {MINE}"):
        photos.search(**query)
    assert not their_code.exists()


@pytest.mark.parametrize("role", ["clip", "backbone"])
def test_code_that_a_collection_names_is_not_run_to_fit_an_aligner(
    role: str, root: Path, store: str, their_code: Path
) -> None:
    name_in_card(store, role)
    named = {"clip": f"open_clip:local-dir:{root}/clip", "backbone": f"timm:local-dir:{root}/bb"}
    named.pop(role)
    with open_collection("photos", store, **named) as photos, pytest.raises(UsageError, match=f"--{role} {MINE}"):
        photos.realign(fit_images=[root / "images"])
    assert not their_code.exists()


def test_code_that_an_aligners_file_names_is_not_run(store: str, their_code: Path, tmp_path: Path) -> None:
    with open_collection("photos", store) as photos:
        aligner = Aligner.from_bytes(photos.store.read_blob("aligner") or b"")
        stranger = replace(aligner.clip, id=MINE, fingerprint=Fingerprint("other", "other"))
        replace(aligner, clip=stranger).save(tmp_path / "aligner")
        with pytest.raises(UsageError, match=f"--clip {MINE}"):
            photos.realign(tmp_path / "aligner")
    assert not their_code.exists()


def test_code_that_the_user_names_is_run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    mine = save_factory(tmp_path, "a_backbone_of_mine", seed=0)
    store, image = str(tmp_path / "mine.t2c"), root / "images" / "1.png"
    with open_collection("mine", store, clip=f"open_clip:local-dir:{root}/clip", backbone=mine) as opened:
        opened.index([root / "images"])
    with open_collection("mine", store) as opened, pytest.raises(UsageError, match=f"--backbone {mine}"):
        opened.search(image=image)
    with open_collection("mine", store, backbone=mine) as opened:
        assert opened.search(image=image, limit=1)[0].path == str(image)


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSelection:
    """Three models that tell how they were loaded."""
    install_recorder(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names = [f"recorder:{name}" for name in ("clip", "backbone", "text")]
    return ModelSelection(*names, device="cpu", dtype="float16", compile=True, pool=ModelPool())


def test_a_collections_models_run_in_the_precision_asked_for_and_compiled(chosen: ModelSelection) -> None:
    clip, backbone = chosen.load_pair(Settings())
    card = CollectionCard(made_by="", clip=encoder_ref(clip), backbone=encoder_ref(backbone), text=chosen.text)
    models = Models(card, chosen, lambda: pytest.fail("no aligner is needed"))
    assert (models.clip, models.backbone) == (clip, backbone)
    assert [model.id for model in (clip, backbone, models.text)] == [chosen.clip, chosen.backbone, chosen.text]
    for image_side in (clip, backbone):
        assert (image_side.dtype, image_side.compiled) == ("float16", True)
    assert (models.text.dtype, models.text.compiled) == ("float16", False)


def test_a_fit_runs_in_the_precision_asked_for_and_compiled(chosen: ModelSelection, root: Path) -> None:
    pool = ModelPool()
    options = {"device": "cpu", "dtype": "bfloat16", "compile": True}
    aligner = fit([root / "images"], backbone=chosen.backbone, clip=chosen.clip, pool=pool, **options)
    assert (aligner.backbone.id, aligner.clip.id) == (chosen.backbone, chosen.clip)
    for encoder_id in (chosen.backbone, chosen.clip):
        used = pool.load(encoder_id, **options)
        assert (used.dtype, used.compiled) == ("bfloat16", True)
        assert used.most == 1, "it was not this one that the images went through"
