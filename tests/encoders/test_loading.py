"""A model that is not on this machine ends in an error that says what to do, at once when the hub is out of reach."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled

from t2c_search.encoders import registry
from t2c_search.errors import EncoderError
from tests.encoders import tiny

HUB_IDS = {
    "timm:vit_small_patch14_dinov2.lvd142m": "timm:local-dir:FOLDER",
    "timm:hf-hub:someone/something": "timm:local-dir:FOLDER",
    "open_clip:ViT-B-32/laion2b_s34b_b79k": "open_clip:local-dir:FOLDER",
    "open_clip:hf-hub:someone/something": "open_clip:local-dir:FOLDER",
    "st:clip-ViT-B-32": "st:FOLDER",
}


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("encoder_id", HUB_IDS)
def test_offline_mode_names_the_local_alternative(
    encoder_id: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(logging.root, "handlers", [])  # a program that did not set up logging
    with pytest.raises(EncoderError, match="is not on this machine, and HF_HUB_OFFLINE is set") as caught:
        registry.load(encoder_id)
    assert HUB_IDS[encoder_id] in str(caught.value)
    assert capfd.readouterr().err == ""  # the message is the exception's alone
    assert logging.root.handlers == []


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("encoder_id", HUB_IDS)
def test_a_hub_out_of_reach_is_asked_once_and_not_retried(encoder_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # bound but not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(variable, raising=False)
        with pytest.raises(EncoderError, match="is not on this machine, and the model hub did not deliver") as caught:
            registry.load(encoder_id)
    causes = []
    cause: BaseException | None = caught.value
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    offline = any(isinstance(cause, OfflineModeIsEnabled) or "outgoing traffic" in str(cause) for cause in causes)
    assert offline, "the hub's client tried the network, and so its own retries"
    assert not any(isinstance(cause, OSError) and "refused" in str(cause).lower() for cause in causes)
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("save", [tiny.save_open_clip, tiny.save_st_clip, tiny.save_st_text])
def test_loading_draws_nothing(save: Callable[..., str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    encoder_id = save(tmp_path / "model", seed=0)
    capfd.readouterr()
    registry.load(encoder_id, device="cpu")
    assert capfd.readouterr() == ("", "")


def test_a_model_that_needs_more_than_pixels_is_refused(tmp_path: Path) -> None:
    encoder_id = tiny.save_st_patches(tmp_path / "model")
    with pytest.raises(EncoderError, match="takes modality, pixel_attention_mask, pixel_values, spatial_shapes"):
        registry.load(encoder_id, device="cpu")
