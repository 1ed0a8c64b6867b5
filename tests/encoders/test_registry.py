"""Ids find their encoder, or end in an error that says what to do; nothing heavy is imported to list them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from t2c_search.encoders import registry
from t2c_search.errors import EncoderError, UnknownEncoderError, UsageError
from tests.encoders import tiny


def test_built_in_kinds_are_listed_and_described_without_importing_a_model_library() -> None:
    code = (
        "import sys; from t2c_search.encoders import registry\n"
        "print(*registry.kinds()); print(*(kind.name for kind in registry.describe()))\n"
        "print(*({'torch', 'timm', 'open_clip', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kinds, described, imported = result.stdout.split("\n")[:3]
    assert set(kinds.split()) >= {"timm", "open_clip", "st", "torch", "precomputed", "mini"}
    assert sorted(kinds.split()) == sorted(described.split())
    assert imported == ""


@pytest.mark.parametrize(
    ("encoder_id", "message"),
    [
        ("tim:resnet50", r"no encoder kind 'tim' in 'tim:resnet50'; known kinds: timm, .*; did you mean 'timm'\?"),
        ("resnet50", "no encoder kind 'resnet50'.*KIND:NAME, such as timm:resnet50"),
        ("", "no encoder kind ''"),
        ("timm:resnet5", "timm has no pretrained model 'resnet5'; did you mean 'resnet50"),
        ("timm:regnetz_005", "timm has no pretrained model 'regnetz_005'"),  # an architecture without weights
        ("timm:local-dir:/nowhere/at/all", "there is no folder /nowhere/at/all"),
        ("open_clip:ViT-B-3/laion2b_s34b_b79k", "did you mean 'ViT-B-32/laion2b_s34b_b79k'"),
        ("open_clip:ViT-B-32/laion2b_s34b", "names no weights; did you mean 'laion2b_s34b_b79k'"),
        ("open_clip:ViT-B-32", "names no weights: use open_clip:ViT-B-32/TAG with a tag of openai, "),
        ("open_clip:local-dir:/nowhere", "there is no folder /nowhere"),
        ("st:./nowhere", "there is no folder .*nowhere"),
        ("torch:os.path", "expected torch:module.path:factory"),
        ("torch:no_such_module.at_all:make", "No module named 'no_such_module'"),
        ("torch:json:loadz", "no function 'loadz'; did you mean 'load'"),
        ("precomputed:/nowhere", "there is no folder /nowhere"),
        (
            "mini:cnn?layer=3",
            r"no option 'layer' in 'mini:cnn\?layer=3'; known options of mini: layers; did you mean 'layers'",
        ),
        ("timm:resnet50?layers=3&depth=2", "no option 'depth' in .*known options of timm: layers"),
        ("mini:vit?layers=all", "layers takes a number of 1 or more, such as layers=3, got 'all'"),
        ("mini:vit?layers=0", "layers takes a number of 1 or more"),
        ("st:clip-ViT-B-32?layers=3", "no option 'layers' in .*; st has no options"),
        ("timm:local-dir:/no?b=c/where", r"there is no folder /no\?b=c/where"),
        ("mini:cn", "no mini model 'mini:cn'; there are mini .*, mini:cnn and mini:vit"),
    ],
)
def test_an_id_that_names_nothing_says_what_there_is(encoder_id: str, message: str) -> None:
    with pytest.raises(UnknownEncoderError, match=message):
        registry.load(encoder_id)


def test_a_model_has_no_more_stages_than_it_has() -> None:
    with pytest.raises(EncoderError, match=r"layers=9 asks for more stages than the model has: .*out of range"):
        registry.load("mini:cnn?layers=9")


def test_a_module_without_stages_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    encoder_id = tiny.save_factory(tmp_path, "a_backbone_without_stages", seed=0)
    with pytest.raises(
        EncoderError, match="layers needs a module with the methods forward_intermediates and forward_head"
    ):
        registry.load(f"{encoder_id}?layers=2")


def test_a_misspelt_folder_names_its_neighbour(tmp_path: Path) -> None:
    tiny.save_timm(tmp_path / "mobilenet_v2", "test_resnet", seed=0)
    with pytest.raises(UnknownEncoderError, match="did you mean 'mobilenet_v2'"):
        registry.load(f"timm:local-dir:{tmp_path}/mobilenetv2")


def test_a_folder_of_another_kind_says_which_file_it_lacks(tmp_path: Path) -> None:
    tiny.save_timm(tmp_path / "model", "test_resnet", seed=0)
    with pytest.raises(UnknownEncoderError, match=r"holds no open_clip_config\.json"):
        registry.load(f"open_clip:local-dir:{tmp_path}/model")


@pytest.mark.parametrize("kind", ["timm", "open_clip"])
def test_a_folder_without_weights_is_an_error_and_no_random_model(kind: str, tmp_path: Path) -> None:
    if kind == "timm":
        encoder_id = tiny.save_timm(tmp_path / "model", "test_resnet", seed=0)
    else:
        encoder_id = tiny.save_open_clip(tmp_path / "model", seed=0)
    next((tmp_path / "model").glob("*.safetensors")).unlink()
    with pytest.raises(EncoderError, match="cannot be loaded"):
        registry.load(encoder_id)


def test_a_damaged_model_is_an_error_that_names_it(tmp_path: Path) -> None:
    encoder_id = tiny.save_timm(tmp_path / "model", "test_resnet", seed=0)
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(EncoderError, match=r"'timm:local-dir:.*' cannot be loaded"):
        registry.load(encoder_id)


def test_ids_of_folders_are_absolute_and_without_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.save_timm(tmp_path / "model", "test_resnet", seed=0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for spelling in ("model", "./model", "~/model", "x/../model"):
        assert registry.load(f"timm:local-dir:{spelling}").id == f"timm:local-dir:{tmp_path}/model"


def test_what_has_one_tower_cannot_play_the_part_of_the_other(tmp_path: Path) -> None:
    images_only = tiny.save_timm(tmp_path / "images", "test_resnet", seed=0)
    texts_only = tiny.save_st_text(tmp_path / "texts", seed=0)
    with pytest.raises(UsageError, match="has no text tower, so it cannot be the CLIP model; use it as the backbone"):
        registry.load_clip(images_only)
    with pytest.raises(UsageError, match="sees images only"):
        registry.load_text_encoder(images_only)
    for load in (registry.load_clip, registry.load_image_encoder):
        with pytest.raises(UsageError, match="reads texts only"):
            load(texts_only)


def test_an_installed_package_adds_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = registry.kinds()
    tiny.install_plugin(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.kinds() == (*before, "acme", "acme_nothing", "acme_faulty", "acme_gone")
    described = {kind.name: kind for kind in registry.describe()}
    assert described["acme"].usage == "acme:NAME"
    assert described["acme"].summary == "from acme-encoders 1.2"
    assert registry.load_image_encoder("acme:small").id == "acme:small"
    with pytest.raises(UnknownEncoderError, match=r"known kinds: timm, .*, acme, .*did you mean 'acme'"):
        registry.load("acne:small")
    with pytest.raises(EncoderError, match="kind 'acme_nothing' made a str, which is no encoder"):
        registry.load("acme_nothing:small")
    for name, message in {
        "blind": r"a Blind, which has neither prepare\(image\) nor look_up\(path\)",
        "former": r"a Former, which has a prepare that does not take an image alone: write prepare\(image\)",
        "sizeless": "a Sizeless, which lacks decode_size",
    }.items():
        with pytest.raises(EncoderError, match=f"kind 'acme_faulty' made {message}"):
            registry.load(f"acme_faulty:{name}")
    with pytest.raises(EncoderError, match="registered as 'acme_encoders:no_such_function', which fails"):
        registry.load("acme_gone:small")
    # A package cannot take a built-in kind over: it also registers timm.
    with pytest.raises(UnknownEncoderError, match="timm has no pretrained model"):
        registry.load("timm:small")
