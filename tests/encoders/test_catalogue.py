"""What ``t2c models`` says of a model is what its library builds."""

from __future__ import annotations

import open_clip
import pytest
import timm
import torch

from t2c_search.encoders import registry
from t2c_search.encoders.catalogue import BUILT_IN, ModelChoice

CHOICES = {kind.name: kind.choices for kind in BUILT_IN}


def ids(choice: ModelChoice) -> str:
    return choice.id


def assert_described(choice: ModelChoice, dim: int, module: torch.nn.Module) -> None:
    assert choice.dim == dim
    parameters = sum(parameter.numel() for parameter in module.parameters()) / 1e6
    assert choice.parameters_m == pytest.approx(parameters, abs=0.051)


def test_every_choice_is_of_its_kind() -> None:
    for kind in BUILT_IN:
        assert all(choice.id.partition(":")[0] == kind.name for choice in kind.choices)


@pytest.mark.parametrize("choice", CHOICES["timm"], ids=ids)
def test_timm_choices(choice: ModelChoice) -> None:
    name = choice.id.removeprefix("timm:")
    assert timm.models.is_model_pretrained(name)
    with torch.device("meta"), torch.no_grad():  # shapes without weights
        module = timm.create_model(name, num_classes=0).eval()
        size = timm.data.resolve_model_data_config(module)["input_size"]
        assert_described(choice, module(torch.empty(1, *size)).shape[1], module)


@pytest.mark.parametrize("choice", CHOICES["open_clip"], ids=ids)
def test_open_clip_choices(choice: ModelChoice) -> None:
    name, _, tag = choice.id.removeprefix("open_clip:").partition("/")
    assert tag in open_clip.list_pretrained_tags_by_model(name)
    with torch.device("meta"):
        module = open_clip.create_model(name, load_weights=False, device="meta")
    assert_described(choice, open_clip.get_model_config(name)["embed_dim"], module)


@pytest.mark.parametrize("choice", CHOICES["mini"], ids=ids)
def test_mini_choices(choice: ModelChoice) -> None:
    encoder = registry.load_image_encoder(choice.id, device="cpu")
    assert encoder.id == choice.id
    assert_described(choice, encoder.image_dim, encoder.module)
    assert "drawn scenes only" in choice.note
