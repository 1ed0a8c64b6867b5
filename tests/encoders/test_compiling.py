"""torch.compile as an option: the same vectors, or a plain word about what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from t2c_search.encoders import registry
from t2c_search.errors import EncoderError
from t2c_search.indexing.embedding import embed
from t2c_search.sources import list_images
from t2c_search.testing.encoders import draw_image
from t2c_search.types import Failure
from tests.encoders import tiny
from tests.indexing.support import save_pictures

COMPILER = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
needs_compiler = pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason=f"torch.compile needs a C++ compiler, there is no {COMPILER}"
)


@needs_compiler
@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit?layers=2"])
def test_compiled_vectors_are_those_of_the_model(architecture: str, tmp_path: Path) -> None:
    name, options, layers = architecture.partition("?")
    encoder_id = tiny.save_timm(tmp_path / "model", name, seed=0) + options + layers
    plain, compiled = (
        registry.load_image_encoder(encoder_id, device="cpu", dtype="float32", compile=on) for on in (False, True)
    )
    assert compiled.fingerprint == plain.fingerprint
    batch = torch.stack([plain.prepare(draw_image((90, 70), seed)) for seed in range(16)])
    for size in (16, 5, 1):  # a run's last batch is smaller
        cosine = torch.cosine_similarity(compiled.encode_images(batch[:size]), plain.encode_images(batch[:size]))
        assert cosine.min() > 0.9999


def test_an_encoder_without_a_module_has_nothing_to_compile(tmp_path: Path) -> None:
    encoder_id = tiny.save_precomputed(tmp_path / "vectors", {"a.jpg": torch.ones(3).numpy()}, {})
    assert registry.load_image_encoder(encoder_id, compile=True).image_dim == 3


def test_without_a_compiler_the_error_says_what_to_install(tmp_path: Path) -> None:
    encoder_id = tiny.save_timm(tmp_path / "model", "test_resnet", seed=0)
    code = (
        "import sys, torch\n"
        "from t2c_search.encoders import registry\n"
        "encoder = registry.load_image_encoder(sys.argv[1], device='cpu', compile=True)\n"
        "try: encoder.encode_images(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))\n"
        "except Exception as exc: print(type(exc).__name__, exc)\n"
    )
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "CXX": str(tmp_path / "no-compiler")}
    said = subprocess.run(
        [sys.executable, "-c", code, encoder_id],
        env={**os.environ, **cache},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.startswith(f"EncoderError {encoder_id!r} cannot be compiled: ")
    assert "install them, or leave --compile out" in said


def test_a_model_that_can_run_on_nothing_ends_the_run(tmp_path: Path) -> None:
    class Broken:
        id, image_dim, decode_size, device = "torch:broken", 3, 16, torch.device("cpu")

        def prepare(self, image: object) -> torch.Tensor:
            return torch.zeros(3, 4, 4)

        def encode_images(self, batch: torch.Tensor) -> torch.Tensor:
            raise EncoderError("'torch:broken' cannot be compiled")

    save_pictures(tmp_path, 3)
    failures: list[Failure] = []
    with pytest.raises(EncoderError, match="cannot be compiled"):
        list(embed(list_images([tmp_path]), (Broken(),), on_failure=failures.append))
    assert not failures
