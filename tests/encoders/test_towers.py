"""Where models run, in which precision, and what they are by content."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from t2c_search.encoders import registry
from t2c_search.encoders.fingerprint import digest_weights
from t2c_search.encoders.placement import Placement
from t2c_search.errors import EncoderError, UsageError
from t2c_search.testing.encoders import draw_image
from tests.encoders import tiny


def test_auto_is_float32_on_a_cpu_and_16_bits_on_a_gpu() -> None:
    placement = Placement.choose("auto", "auto")
    assert (placement.dtype == torch.float32) == (placement.device.type == "cpu")
    assert Placement.choose("cpu", "auto") == Placement(torch.device("cpu"), torch.float32)
    assert Placement.choose("cpu", "bfloat16").dtype == torch.bfloat16


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_a_usage_error(device: str) -> None:
    if (torch.cuda if device == "cuda" else torch.backends.mps).is_available():
        pytest.skip(f"this machine has {device}")
    with pytest.raises(UsageError, match=f"device '{device}' was asked for.*t2c doctor"):
        Placement.choose(device, "auto")


def test_an_unknown_device_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no device 'gpu'; known devices: auto, cpu, cuda, mps"):
        Placement.choose("gpu", "auto")


@pytest.mark.parametrize("save", [tiny.save_open_clip, tiny.save_st_clip])
def test_16_bits_change_vectors_a_little_and_give_float32(save: object, tmp_path: Path) -> None:
    encoder_id = save(tmp_path / "model", seed=0)
    rows, texts = {}, {}
    for dtype in ("float32", "bfloat16"):
        encoder = registry.load_clip(encoder_id, device="cpu", dtype=dtype)
        rows[dtype] = encoder.encode_images(encoder.prepare(draw_image((50, 40), 0)).unsqueeze(0))
        texts[dtype] = encoder.encode_texts(["a dog in the snow"])
    for vectors in (rows, texts):
        assert vectors["bfloat16"].dtype == torch.float32
        assert not torch.equal(vectors["bfloat16"], vectors["float32"])
        assert torch.cosine_similarity(vectors["bfloat16"], vectors["float32"]).item() > 0.99
    assert texts["bfloat16"].norm().item() == pytest.approx(1, abs=1e-5)


def test_fingerprints_are_the_same_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain.py").write_text(
        "import torch\n"
        "def preprocess(image):\n    return torch.zeros(3, 4, 4)\n"  # its repr holds an address
        "def make():\n    torch.manual_seed(0)\n    return torch.nn.Sequential(torch.nn.Flatten()), preprocess\n"
    )
    ids = [
        tiny.save_timm(tmp_path / "model", "test_resnet", seed=0),
        tiny.save_precomputed(tmp_path / "vectors", {"a.jpg": torch.ones(3).numpy()}, {}),
        "torch:plain:make",
    ]
    code = (
        "import sys; from t2c_search.encoders import registry\n"
        "for encoder_id in sys.argv[1:]: print(registry.load(encoder_id, device='cpu').fingerprint)"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": path}
    command = [sys.executable, "-c", code, *ids]
    elsewhere = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    monkeypatch.syspath_prepend(tmp_path)
    here = [str(registry.load(encoder_id, device="cpu").fingerprint) for encoder_id in ids]
    assert elsewhere.splitlines() == here


def test_the_weights_digest_sees_names_types_shapes_and_values_but_not_layout() -> None:
    weights = torch.arange(48, dtype=torch.float32).reshape(1, 3, 4, 4)
    digest = digest_weights({"a": weights, "b": torch.ones(2)})
    assert digest == digest_weights({"b": torch.ones(2), "a": weights.to(memory_format=torch.channels_last)})
    assert digest_weights({"a": torch.ones(2, dtype=torch.bfloat16)}) == digest_weights(
        {"a": torch.ones(2, dtype=torch.bfloat16)}
    )
    changed = weights.clone()
    changed[0, 2, 3, 3] += 1
    for other in (
        {"a": changed, "b": torch.ones(2)},
        {"c": weights, "b": torch.ones(2)},
        {"a": weights.reshape(3, 1, 4, 4), "b": torch.ones(2)},
        {"a": weights.view(torch.int32), "b": torch.ones(2)},
    ):
        assert digest_weights(other) != digest


def test_a_users_module_beside_the_command_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder_id = tiny.save_factory(tmp_path, "backbone_in_working_directory", seed=0)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    assert registry.load_image_encoder(encoder_id).image_dim == 32


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("no_pooling", r"gives \(1, 8, 38, 28\) for one image, expected \(1, d\)"),
        ("only_a_module", r"returned Sequential, expected \(torch.nn.Module, preprocess\)"),
        ("breaks", "cannot be loaded: KeyError: 'weights.pt'"),
    ],
)
def test_a_users_module_that_does_not_embed_is_told_why(
    function: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.save_factory(tmp_path, f"backbone_{function}", seed=0)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EncoderError, match=message):
        registry.load(f"torch:backbone_{function}:{function}")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_rows_from_pinned_memory_and_as_a_cpu(tmp_path: Path) -> None:
    encoder_id = tiny.save_timm(tmp_path / "model", "test_resnet", seed=0)
    on_gpu, on_cpu = (registry.load_image_encoder(encoder_id, device=name, dtype="float32") for name in ("cuda", "cpu"))
    images = [[draw_image((90, 70), seed) for seed in range(first, first + 16)] for first in range(0, 160, 16)]
    batches = [torch.stack([on_cpu.prepare(image) for image in batch]) for batch in images]
    pinned = [on_gpu.encode_images(batch.pin_memory()) for batch in batches]  # none is waited for before the next
    plain = [on_gpu.encode_images(batch) for batch in batches]
    for batch, one, other in zip(batches, pinned, plain, strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(one.cpu(), on_cpu.encode_images(batch), atol=1e-3, rtol=1e-3)
