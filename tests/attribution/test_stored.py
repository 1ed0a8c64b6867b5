"""Kept factors answer as the whole ones do, in few bytes, and go along with a new aligner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from t2c_search.attribution import exact, stored
from t2c_search.attribution.explained import Explained, method_for_all
from t2c_search.attribution.factors import PlaceFactors
from t2c_search.attribution.projection import UNPROJECTED, hold
from t2c_search.encoders import registry
from t2c_search.errors import CollectionDamagedError, T2CWarning
from t2c_search.explain.maps import maps
from t2c_search.types import FACTORS, NATIVE, Points
from tests.attribution.test_projection import KINDS, made
from tests.encoders import tiny

WIDE, DIM, GRID = 12, 8, (3, 5)
TEXTS = normalize(torch.randn(4, DIM, generator=torch.Generator().manual_seed(9)), dim=1).numpy()
CENTRE = np.linspace(-0.2, 0.2, DIM)


def unprojected(number: int = 6, places: int = 15, wide: int = WIDE) -> PlaceFactors:
    """Return factors as an encoder tells them, with a base and a residual."""
    generator = torch.Generator().manual_seed(8)
    parts = torch.randn(number, places, wide, generator=generator) / 5
    base = torch.randn(number, wide, generator=generator) / 9
    rows = parts.sum(1) + base + torch.randn(number, wide, generator=generator) / 50
    return PlaceFactors(rows, base, parts, "exact", GRID if places == 15 else (places, 1))


def projected(found: PlaceFactors, aligner: object) -> PlaceFactors:
    """Return the same factors in CLIP space."""
    held = hold(found.vectors, aligner)  # type: ignore[arg-type]
    base = held.base + held.map(found.base)
    return PlaceFactors(held.base + held.map(found.vectors), base, held.map(found.parts), "exact", found.grid)


def read(found: PlaceFactors, codes: list[np.ndarray], aligner: object, *, native: bool) -> stored.StoredFactors:
    reader = stored.FactorReader(native, lambda: aligner, "exact")  # type: ignore[arg-type, return-value]
    points = Points([""] * len(codes), vectors={NATIVE: found.vectors.numpy()}, multivectors={FACTORS: codes})
    ((rows, kept),) = reader.read(points)
    assert rows == list(range(len(codes)))
    return kept


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("transform", "on_axis"), KINDS)
def test_maps_are_those_of_the_whole_factors(transform, on_axis: bool, native: bool) -> None:
    found, aligner = unprojected(), made(transform, on_axis)
    kept = read(found, stored.encode(found, aligner, native=native), aligner, native=native)
    whole = projected(found, aligner)
    got = kept.maps(whole.vectors.numpy(), TEXTS, CENTRE)
    want = maps(whole, torch.from_numpy(TEXTS), torch.from_numpy(CENTRE).float()).numpy()
    assert np.abs(got - want).max() < 0.02 * np.abs(want).max()  # bytes
    np.testing.assert_allclose(got.sum(2), (whole.vectors.numpy() - CENTRE) @ TEXTS.T, atol=1e-5)
    again = kept.factors(whole.vectors.numpy(), "exact")
    assert again.residual.abs().max() < 1e-6
    assert (again.parts - whole.parts).abs().max() < 0.02 * whole.parts.abs().max()
    assert again.grid == GRID


def test_before_they_are_bytes_they_are_the_whole_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {}

    def keep(head: bytes, scales: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
        kept.update(left=left, right=right * scales[:, :, None])

    monkeypatch.setattr(stored, "_packed", keep)
    monkeypatch.setattr(torch.Tensor, "round", lambda self: self)
    found, aligner = unprojected(), made("unit", True)
    stored.encode(found, aligner, native=False)
    whole = projected(found, aligner)
    got = stored.StoredFactors(kept["left"].numpy(), kept["right"].numpy(), GRID)
    want = maps(whole, torch.from_numpy(TEXTS), torch.from_numpy(CENTRE).float()).numpy()
    assert np.abs(got.maps(whole.vectors.numpy(), TEXTS, CENTRE) - want).max() < 1e-5
    regions = normalize(whole.vectors[:, None] - whole.parts.sum(1, keepdim=True) + 15 * whole.parts, dim=2)
    np.testing.assert_allclose(got.best(TEXTS), (regions.numpy() @ TEXTS.T).max(1), atol=1e-4)  # on a grid this coarse


def test_a_region_is_a_third_of_a_grid_about_its_place() -> None:
    values = np.random.default_rng(2).normal(size=(7, 13))
    means = (stored.region_means((7, 13)) @ values.reshape(-1)).reshape(7, 13)
    assert means[3, 6] == pytest.approx(values[2:5, 4:9].mean())
    assert means[0, 12] == pytest.approx(values[:2, 10:].mean())
    assert np.array_equal(stored.region_means((3, 5)), np.eye(15))


def test_the_best_region_is_that_of_plain_numpy() -> None:
    rng = np.random.default_rng(5)
    left, right = rng.normal(size=(2, 1 + 42, 4)).astype(np.float32), rng.normal(size=(2, 4, DIM)).astype(np.float32)
    got = stored.StoredFactors(left, right, (6, 7)).best(TEXTS)
    for at in range(2):
        rest, *places = left[at].astype(np.float64) @ right[at]
        grid = np.reshape(places, (6, 7, DIM))
        cosines = []
        for down in range(6):
            for across in range(7):
                region = rest + grid[max(down - 1, 0) : down + 2, max(across - 1, 0) : across + 2].mean((0, 1))
                cosines.append(region @ TEXTS.T / np.linalg.norm(region))
        np.testing.assert_allclose(got[at], np.max(cosines, axis=0), atol=1e-5)


def test_those_of_the_backbones_space_go_along_with_a_new_aligner() -> None:
    found, new = unprojected(), made("unit", True)
    codes = stored.encode(found, made("identity", False), native=True)
    whole = projected(found, new)
    got = read(found, codes, new, native=True).maps(whole.vectors.numpy(), TEXTS, CENTRE)
    want = maps(whole, torch.from_numpy(TEXTS), torch.from_numpy(CENTRE).float()).numpy()
    assert np.abs(got - want).max() < 0.02 * np.abs(want).max()


def test_large_ones_keep_what_matters_most_in_few_bytes() -> None:
    generator = torch.Generator().manual_seed(3)
    smooth = torch.randn(3, 196, 12, generator=generator) @ torch.randn(12, 512, generator=generator)
    parts = smooth / 500 + torch.randn(3, 196, 512, generator=generator) / 2000
    found = PlaceFactors(parts.sum(1), torch.zeros(3, 512), parts, "exact", (14, 14))
    codes = stored.encode(found, None, native=False)
    assert all(code.size <= stored.MOST_BYTES for code in codes)
    kept = read(found, codes, None, native=False)
    texts = normalize(torch.randn(5, 512, generator=generator), dim=1)
    whole = projected(found, None)
    got, want = (torch.from_numpy(kept.left @ kept.right)[:, 1:] @ texts.T, whole.parts @ texts.T)
    assert torch.nn.functional.cosine_similarity(got, want, dim=1).min() > 0.98
    one = PlaceFactors(*(each[1:2] for each in (found.vectors, found.base, parts)), "exact", (14, 14))
    alone = stored.encode(one, None, native=False)
    lone = stored.decode(alone)[0][1]
    both = (each.left @ (each.right @ texts.numpy().T) for each in (lone, stored.decode(codes[1:2])[0][1]))
    assert np.abs(np.subtract(*both)).max() < 0.01 * want.abs().max()  # whatever stands beside it


def test_images_without_any_and_with_others_of_another_grid_are_told_apart() -> None:
    one, other = unprojected(), unprojected(2, places=4)
    codes = [
        *stored.encode(one, None, native=False)[:1],
        np.empty((0, 256), np.float32),
        *stored.encode(other, None, native=False),
    ]
    read_back = stored.decode(codes)
    assert [rows for rows, _ in read_back] == [[0], [2, 3]]
    assert [kept.grid for _, kept in read_back] == [GRID, (4, 1)]


def test_damaged_ones_are_told() -> None:
    (code, *_) = stored.encode(unprojected(), None, native=False)
    code[0, :2] = 200
    with pytest.raises(CollectionDamagedError, match="factors"):
        stored.decode([code])


def test_unprojected_rows_keep_their_lengths() -> None:
    found = unprojected()
    held = hold(found.vectors, UNPROJECTED)
    assert torch.equal(held.map(found.parts), found.parts)
    assert not held.base.any()


def test_a_large_residual_is_warned_about_once_for_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = registry.load("mini:cnn", device="cpu")
    batch = torch.stack([encoder.prepare(Image.new("RGB", (64, 64), "red"))] * 2)  # type: ignore[union-attr]
    found = Explained(encoder).explain(batch)  # type: ignore[arg-type]
    large = PlaceFactors(found.vectors, found.base, found.parts / 2, "exact", found.grid)
    monkeypatch.setattr(exact, "factors", lambda encoder, aligner, pixels: large)
    told = Explained(encoder)  # type: ignore[arg-type]
    with pytest.warns(T2CWarning, match="of 2 images leave up to 50%") as warned:
        told.explain(batch)
        told.explain(batch)
    assert len(warned) == 1


def test_an_encoder_of_which_nothing_is_known_is_said_to_take_many_passes(tmp_path: Path) -> None:
    encoder = registry.load(tiny.save_st_clip(tmp_path / "st", seed=1), device="cpu")
    with pytest.warns(T2CWarning, match="under 128 masks"):
        assert method_for_all(encoder) == "banzhaf"  # type: ignore[arg-type]
