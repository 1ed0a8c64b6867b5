"""The map itself, its file, and its refusal of other models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from t2c_search.alignment.aligner import Aligner, place_on_sphere
from t2c_search.alignment.report import FitReport
from t2c_search.errors import AlignerMismatchError, AlignmentError, UsageError
from t2c_search.types import EncoderRef, Fingerprint

BACKBONE = EncoderRef("timm:small", 6, Fingerprint("w1", "p1"))
CLIP = EncoderRef("open_clip:tiny", 4, Fingerprint("w2", "p2"))
REPORT = FitReport("spherical-ridge", "retrieval", 1.0, 0.5, 99, 20, 0.1, 0.2, None, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@pytest.fixture
def aligner() -> Aligner:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(6, 4, generator=generator) / 4, torch.randn(4, generator=generator) / 4
    return Aligner(BACKBONE, CLIP, "unit", weight, bias, normalize(bias, dim=0), REPORT)


def some_rows() -> torch.Tensor:
    return torch.rand(7, 6, generator=torch.Generator().manual_seed(1)) * 9


def test_rows_are_unit_float32_and_come_from_the_affine_parts(aligner: Aligner) -> None:
    rows = some_rows()
    aligned = aligner(rows.double())
    affine = normalize(rows) @ aligner.weight + aligner.bias
    assert aligned.dtype == torch.float32
    torch.testing.assert_close(aligned.norm(dim=1), torch.ones(7))
    torch.testing.assert_close(aligner.affine(rows), affine)
    torch.testing.assert_close(aligned @ aligner.axis, affine @ aligner.axis)


def test_features_pass_as_they_are_with_the_identity(aligner: Aligner) -> None:
    plain = replace(aligner, transform="identity", axis=torch.zeros(4))
    torch.testing.assert_close(plain(some_rows()), normalize(some_rows() @ aligner.weight + aligner.bias))


@given(st.lists(st.floats(-0.6, 0.6), min_size=5, max_size=5))
@example([0.5625, 0.5625, 0.0, -0.5, 0.5625])  # a component along the axis beyond 1
def test_the_sphere_keeps_the_component_along_the_axis(point: list[float]) -> None:
    points = torch.tensor([point])
    axis = normalize(torch.tensor([1.0, 2, 0, -1, 3]), dim=0)
    component = (points @ axis).clamp(-1, 1)
    across = points - (points @ axis) * axis
    if across.norm() < 1e-3 or component.abs() > 0.999:
        return  # nothing but the axis, or no room beside it: no direction is left to choose
    placed = place_on_sphere(points, axis)
    torch.testing.assert_close(placed @ axis, component, atol=1e-5, rtol=0)
    torch.testing.assert_close(placed.norm(dim=1), torch.ones(1))
    torch.testing.assert_close(normalize(placed - component * axis), normalize(across), atol=1e-3, rtol=0)


def test_a_point_on_the_axis_stays_there() -> None:
    axis = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(place_on_sphere(torch.tensor([[0.0, 0.4], [0.0, 3.0]]), axis), axis.expand(2, 2))


def test_a_zero_axis_is_plain_normalisation() -> None:
    points = some_rows()
    torch.testing.assert_close(place_on_sphere(points, torch.zeros(6)), normalize(points))


@pytest.mark.parametrize("shape", [(3, 5), (6,), (2, 3, 6)])
def test_rows_of_another_model_are_refused(aligner: Aligner, shape: tuple[int, ...]) -> None:
    with pytest.raises(AlignmentError, match=r"'timm:small' takes rows of 6 numbers, got an array of shape"):
        aligner(torch.zeros(shape))


def test_a_file_brings_everything_back(aligner: Aligner, tmp_path: Path) -> None:
    path = tmp_path / "small-to-tiny.safetensors"
    aligner.save(path)
    loaded = Aligner.load(path)
    assert (loaded.backbone, loaded.clip, loaded.transform, loaded.report) == (BACKBONE, CLIP, "unit", REPORT)
    assert torch.equal(loaded(some_rows()), aligner(some_rows()))
    assert loaded.to_bytes() == aligner.to_bytes() == path.read_bytes()


def test_the_file_is_safetensors_with_its_provenance_as_json(aligner: Aligner, tmp_path: Path) -> None:
    path = tmp_path / "aligner.safetensors"
    aligner.save(path)
    with safetensors.safe_open(path, "pt") as opened:
        provenance = json.loads(opened.metadata()["t2c_search.aligner"])
        assert torch.equal(opened.get_tensor("weight"), aligner.weight)
    assert provenance["backbone"] == {
        "id": "timm:small",
        "dim": 6,
        "fingerprint": {"weights": "w1", "preprocessing": "p1"},
    }
    assert provenance["report"]["method"] == "spherical-ridge"
    assert provenance["format_version"] == 1


def test_what_is_no_aligner_is_refused_by_name(aligner: Aligner, tmp_path: Path) -> None:
    whole = aligner.to_bytes()
    other = safetensors.torch.save({"weight": torch.zeros(2)})
    for content in (b"", b"plain text that is no tensor file", whole[:-8], whole[:300], other):
        path = tmp_path / "broken.safetensors"
        path.write_bytes(content)
        with pytest.raises(
            AlignmentError, match=r"broken\.safetensors holds no aligner that can be read; make one with"
        ):
            Aligner.load(path)


def test_a_missing_file_and_an_unwritable_place_are_named(aligner: Aligner, tmp_path: Path) -> None:
    with pytest.raises(AlignmentError, match=r"nowhere\.safetensors cannot be read: No such file"):
        Aligner.load(tmp_path / "nowhere.safetensors")
    with pytest.raises(UsageError, match="is a folder: name a file"):
        aligner.save(tmp_path)
    aligner.save(tmp_path / "new-folder" / "aligner.safetensors")
    assert [each.name for each in (tmp_path / "new-folder").iterdir()] == ["aligner.safetensors"]


def test_a_newer_format_is_refused(aligner: Aligner) -> None:
    newer = aligner.to_bytes().replace(b'\\"format_version\\":1', b'\\"format_version\\":2')
    with pytest.raises(AlignmentError, match=r"format 2, this t2c_search reads up to 1; upgrade"):
        Aligner.from_bytes(newer)


def test_tensors_that_do_not_fit_the_models_are_refused(aligner: Aligner) -> None:
    crooked = replace(aligner, weight=aligner.weight[:5])
    with pytest.raises(
        AlignmentError, match=r"shape \(5, 4\), which does not fit its own models of 6 and 4 dimensions"
    ):
        Aligner.from_bytes(crooked.to_bytes())


def test_it_works_for_the_models_it_was_fitted_for_wherever_they_lie(aligner: Aligner) -> None:
    aligner.check(BACKBONE, CLIP)
    aligner.check(replace(BACKBONE, id="timm:local-dir:elsewhere"), CLIP)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"fingerprint": Fingerprint("other", "p1")}, "weights"),
        ({"fingerprint": Fingerprint("w1", "other")}, "preprocessing"),
    ],
)
def test_another_backbone_is_refused_naming_both(aligner: Aligner, change: dict[str, Fingerprint], part: str) -> None:
    other = replace(BACKBONE, id="timm:resnet50", **change)
    with pytest.raises(
        AlignerMismatchError, match=rf"backbone 'timm:small', not for 'timm:resnet50', which has other {part}"
    ):
        aligner.check(other, CLIP)


def test_another_clip_model_is_refused_naming_both(aligner: Aligner) -> None:
    other = EncoderRef("open_clip:ViT-B-32/openai", 4, Fingerprint("w3", "p2"))
    with pytest.raises(AlignerMismatchError, match=r"CLIP model 'open_clip:tiny', not for 'open_clip:ViT-B-32/openai'"):
        aligner.check(BACKBONE, other)


def test_moving_to_a_device_leaves_the_map_alone(aligner: Aligner) -> None:
    moved = aligner.to("meta")
    assert moved(torch.zeros(3, 6, device="meta")).device.type == "meta"
    assert aligner.weight.device.type == "cpu"
